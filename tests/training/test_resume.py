"""A training goes on as if it had never stopped: after kill -9, a signal, in the middle of anything."""

import os
import random
import signal
import sys
import threading
import time

import pytest

from tanet import train
from tanet.data.loader import BadVideo
from tanet.data.prefetch import prefetch_to_device
from tanet.training import training_state as states
from tanet.training.trainer import EpochResult, Interrupted, Progress
from tests.support import rank_processes
from tests.support.tiny_videos import changed
from tests.support.training_runs import Stop, same, stop_at
from tests.support.training_runs import recipe as recipe
from tests.support.training_runs import tells_each_step as tells_each_step
from tests.support.training_runs import whole as whole


def one_ahead(batches, device, spec):
    """As on a GPU: the next batch is asked for before one is handed out."""
    ahead = None
    for batch in prefetch_to_device(batches, device, spec):
        if ahead is not None:
            yield ahead
        ahead = batch
    if ahead is not None:
        yield ahead


@pytest.mark.parametrize("ahead", [prefetch_to_device, one_ahead])
@pytest.mark.parametrize(("moment", "workers"), [((1, 1), 2), ((1, 4), 0), ((2, 3), 2)])
def test_goes_on_in_the_middle_of_an_epoch(
    recipe, whole, tmp_path, tells_each_step, monkeypatch, moment, workers, ahead
):
    monkeypatch.setattr(sys.modules["tanet.training.trainer"], "prefetch_to_device", ahead)
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, on_event=stop_at(*moment))
    said = []
    recipe = changed(recipe, data={"workers": workers})  # not a part of the experiment
    train(recipe, out=tmp_path, device="cpu", resume=True, on_event=said.append)
    first = next(event for event in said if isinstance(event, Progress))
    assert (first.epoch, first.step) > moment
    assert same(tmp_path, whole)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(file.name for file in whole.iterdir())
    named = [event for event in said if isinstance(event, BadVideo)]
    assert len(named) <= 1  # what the state knows is not named again


def test_goes_on_in_a_validation(recipe, whole, tmp_path, monkeypatch):
    monkeypatch.setattr("tanet.training.validation.evaluate.merge_scores", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(recipe, out=tmp_path, device="cpu")
    monkeypatch.undo()
    said = []
    train(recipe, out=tmp_path, device="cpu", resume=True, on_event=said.append)
    assert same(tmp_path, whole)
    assert [event.epoch for event in said if isinstance(event, EpochResult)] == [1, 2]
    assert not any(isinstance(event, Progress) and event.epoch == 1 and event.step < 6 for event in said)


@pytest.mark.slow
def test_kill_9_at_random_moments(recipe, whole, tmp_path):
    moments = random.Random(0)
    for _ in range(3):
        (process,) = rank_processes.start(recipe, tmp_path / "run")
        for _ in range(moments.randrange(1, 4)):  # steps, and then some part of one
            newest = states.list_states(tmp_path / "run")[-1:]
            while states.list_states(tmp_path / "run")[-1:] == newest and process.is_alive():
                time.sleep(0.001)
        time.sleep(moments.uniform(0.0, 0.05))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    (process,) = rank_processes.start(recipe, tmp_path / "run")
    process.join()
    assert process.exitcode == 0
    assert same(tmp_path / "run", whole)


def test_ctrl_c_finishes_the_step_and_saves(recipe, whole, tmp_path, tells_each_step):
    before = signal.getsignal(signal.SIGINT)
    for number in (signal.SIGINT, signal.SIGTERM):

        def report(event, number=number):
            if isinstance(event, Progress) and event.epoch == 2 and event.step == 3:
                os.kill(os.getpid(), number)

        with pytest.raises(Interrupted, match=r"stopped in epoch 2, after step 4 of 6"):
            train(recipe, out=tmp_path / str(number), device="cpu", on_event=report)
        train(recipe, out=tmp_path / str(number), device="cpu", resume=True)
        assert same(tmp_path / str(number), whole)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_a_signal_to_the_whole_group_does_not_take_the_workers(recipe, whole, tmp_path):
    one, out = changed(recipe, data={"workers": 2}), tmp_path / "run"
    (process,) = rank_processes.start(one, out)
    while not states.list_states(out) and process.is_alive():
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGTERM)
    process.join()
    assert process.exitcode == 130
    (process,) = rank_processes.start(one, out)
    process.join()
    assert process.exitcode == 0
    assert same(out, whole)


def test_a_second_ctrl_c_ends_at_once(recipe, tmp_path, tells_each_step):
    def report(event):
        if isinstance(event, Progress):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as stop:
        train(recipe, out=tmp_path, device="cpu", on_event=report)
    assert not isinstance(stop.value, Interrupted)


def test_trains_in_a_thread_where_no_signals_come(recipe, tmp_path):
    one = changed(recipe, optim={"epochs": 1})
    thread = threading.Thread(target=train, args=(one,), kwargs={"out": tmp_path, "device": "cpu"})
    thread.start()
    thread.join()
    assert (tmp_path / "best.safetensors").exists()

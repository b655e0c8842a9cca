"""A resumed training ends with the same result as one that never stopped, also after kill -9 or a signal."""

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
from tests.support.training_runs import Stop, same_result, stop_at
from tests.support.training_runs import finished_run as finished_run
from tests.support.training_runs import progress_every_step as progress_every_step
from tests.support.training_runs import recipe as recipe


def prefetch_one_batch_ahead(batches, device, spec):
    """Request the next batch before yielding the current one, as on a GPU."""
    ahead = None
    for batch in prefetch_to_device(batches, device, spec):
        if ahead is not None:
            yield ahead
        ahead = batch
    if ahead is not None:
        yield ahead


@pytest.mark.parametrize(
    ("moment", "workers", "ahead"),
    [
        ((1, 4), 0, prefetch_to_device),
        ((2, 3), 2, prefetch_to_device),
        ((1, 1), 2, prefetch_one_batch_ahead),
        ((2, 3), 0, prefetch_one_batch_ahead),
    ],
)
def test_resume_within_epoch_gives_same_result(
    recipe, finished_run, tmp_path, progress_every_step, monkeypatch, moment, workers, ahead
):
    monkeypatch.setattr(sys.modules["tanet.training.training_loop"], "prefetch_to_device", ahead)
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, on_event=stop_at(*moment))
    said = []
    recipe = changed(recipe, data={"workers": workers})  # the number of workers may differ on resume
    train(recipe, out=tmp_path, device="cpu", resume=True, on_event=said.append)
    first = next(event for event in said if isinstance(event, Progress))
    assert (first.epoch, first.step) > moment
    assert same_result(tmp_path, finished_run)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        file.name for file in finished_run.iterdir()
    )
    named = [event for event in said if isinstance(event, BadVideo)]
    assert len(named) <= 1  # bad videos listed in the state are not reported again


def test_resume_within_validation_gives_same_result(recipe, finished_run, tmp_path, monkeypatch):
    monkeypatch.setattr("tanet.training.validation.evaluate.merge_scores", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(recipe, out=tmp_path, device="cpu")
    monkeypatch.undo()
    said = []
    train(recipe, out=tmp_path, device="cpu", resume=True, on_event=said.append)
    assert same_result(tmp_path, finished_run)
    assert [event.epoch for event in said if isinstance(event, EpochResult)] == [1, 2]
    assert not any(isinstance(event, Progress) and event.epoch == 1 and event.step < 6 for event in said)


@pytest.mark.slow
def test_resume_after_random_kills_gives_same_result(recipe, finished_run, tmp_path):
    moments = random.Random(0)
    for _ in range(2):  # tests/long kills more often
        (process,) = rank_processes.start(recipe, tmp_path / "run")
        for _ in range(moments.randrange(1, 4)):  # wait for some steps, then for a part of one
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
    assert same_result(tmp_path / "run", finished_run)


def test_ctrl_c_finishes_step_and_saves_state(recipe, finished_run, tmp_path, progress_every_step):
    before = signal.getsignal(signal.SIGINT)
    for number in (signal.SIGINT, signal.SIGTERM):

        def report(event, number=number):
            if isinstance(event, Progress) and event.epoch == 2 and event.step == 3:
                os.kill(os.getpid(), number)

        with pytest.raises(Interrupted, match=r"stopped in epoch 2, after step 4 of 6"):
            train(recipe, out=tmp_path / str(number), device="cpu", on_event=report)
        train(recipe, out=tmp_path / str(number), device="cpu", resume=True)
        assert same_result(tmp_path / str(number), finished_run)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_signal_to_process_group_does_not_kill_workers(recipe, finished_run, tmp_path):
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
    assert same_result(out, finished_run)


def test_second_ctrl_c_stops_at_once(recipe, tmp_path, progress_every_step):
    def report(event):
        if isinstance(event, Progress):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as stop:
        train(recipe, out=tmp_path, device="cpu", on_event=report)
    assert not isinstance(stop.value, Interrupted)


def test_training_runs_in_thread_without_signal_handlers(recipe, tmp_path):
    one = changed(recipe, optim={"epochs": 1})
    thread = threading.Thread(target=train, args=(one,), kwargs={"out": tmp_path, "device": "cpu"})
    thread.start()
    thread.join()
    assert (tmp_path / "best.safetensors").exists()

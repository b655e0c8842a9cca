"""A training goes on as if it had never stopped: after kill -9, a signal, a full disk, a damaged state."""

import csv
import dataclasses
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import apart
import pytest
import safetensors.torch
import torch
from clips import TINY, make_folders

from tanet import state as states
from tanet import train
from tanet.annotation import read_split
from tanet.feed import BadVideo
from tanet.prefetch import on_device
from tanet.train import EpochResult, Note, Progress, Stopped

TIMES = ("seconds", "clips_per_second", "wait")  # columns that differ from run to run


def changed(recipe, **sections):
    return dataclasses.replace(
        recipe,
        **{name: dataclasses.replace(getattr(recipe, name), **fields) for name, fields in sections.items()},
    )


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Two epochs of five steps, not six, since a video is bad; with dropout."""
    root = make_folders(tmp_path_factory.mktemp("videos"), train=6, val=2)
    (root / "train/move_left/3.mp4").write_bytes(b"an error page")
    return changed(
        TINY, data={"root": str(root)}, model={"dropout": 0.5}, optim={"epochs": 2, "batch": 2, "lr": 0.003}
    )


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory):
    """The folder of a run that was never stopped."""
    out = tmp_path_factory.mktemp("whole")
    train(recipe, out=out, device="cpu")
    return out


def same(one, other):
    """Weights bit for bit, the best as the last, and what metrics.csv says."""
    for name in ("last", "best"):
        a, b = (safetensors.torch.load_file(folder / f"{name}.safetensors") for folder in (one, other))
        if a.keys() != b.keys() or not all(torch.equal(a[key], b[key]) for key in a):
            return False
    a, b = (list(csv.DictReader((folder / "metrics.csv").open())) for folder in (one, other))
    return [{**row, **dict.fromkeys(TIMES)} for row in a] == [{**row, **dict.fromkeys(TIMES)} for row in b]


class Stop(Exception):
    """Thrown from where a training reports, in place of a crash."""


def stop_at(epoch, step):
    def report(event):
        if isinstance(event, Progress) and (event.epoch, event.step) == (epoch, step):
            raise Stop

    return report


@pytest.fixture
def tells_each_step(monkeypatch):
    monkeypatch.setattr(sys.modules["tanet.train"], "EVERY", -1.0)


def one_ahead(batches, device):
    """As on a GPU: the next batch is asked for before one is handed out."""
    ahead = None
    for batch in on_device(batches, device):
        if ahead is not None:
            yield ahead
        ahead = batch
    if ahead is not None:
        yield ahead


@pytest.mark.parametrize("ahead", [on_device, one_ahead])
@pytest.mark.parametrize(("moment", "workers"), [((1, 1), 2), ((1, 4), 0), ((2, 3), 2)])
def test_goes_on_in_the_middle_of_an_epoch(
    recipe, whole, tmp_path, tells_each_step, monkeypatch, moment, workers, ahead
):
    monkeypatch.setattr(sys.modules["tanet.train"], "on_device", ahead)
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, report=stop_at(*moment))
    said = []
    recipe = changed(recipe, data={"workers": workers})  # not a part of the experiment
    train(recipe, out=tmp_path, device="cpu", resume=True, report=said.append)
    first = next(event for event in said if isinstance(event, Progress))
    assert (first.epoch, first.step) > moment
    assert same(tmp_path, whole)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(file.name for file in whole.iterdir())
    named = [event for event in said if isinstance(event, BadVideo)]
    assert len(named) <= 1  # what the state knows is not named again


def test_goes_on_in_a_validation(recipe, whole, tmp_path, monkeypatch):
    monkeypatch.setattr("tanet.validation.evaluate.merge", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(recipe, out=tmp_path, device="cpu")
    monkeypatch.undo()
    said = []
    train(recipe, out=tmp_path, device="cpu", resume=True, report=said.append)
    assert same(tmp_path, whole)
    assert [event.epoch for event in said if isinstance(event, EpochResult)] == [1, 2]
    assert not any(isinstance(event, Progress) and event.epoch == 1 and event.step < 6 for event in said)


@pytest.mark.slow
def test_kill_9_at_random_moments(recipe, whole, tmp_path):
    moments = random.Random(0)
    for _ in range(3):
        (process,) = apart.start(recipe, tmp_path / "run")
        for _ in range(moments.randrange(1, 4)):  # steps, and then some part of one
            newest = states.states(tmp_path / "run")[-1:]
            while states.states(tmp_path / "run")[-1:] == newest and process.is_alive():
                time.sleep(0.001)
        time.sleep(moments.uniform(0.0, 0.05))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    (process,) = apart.start(recipe, tmp_path / "run")
    process.join()
    assert process.exitcode == 0
    assert same(tmp_path / "run", whole)


def test_ctrl_c_finishes_the_step_and_saves(recipe, whole, tmp_path, tells_each_step):
    before = signal.getsignal(signal.SIGINT)
    for number in (signal.SIGINT, signal.SIGTERM):

        def report(event, number=number):
            if isinstance(event, Progress) and event.epoch == 2 and event.step == 3:
                os.kill(os.getpid(), number)

        with pytest.raises(Stopped, match=r"stopped in epoch 2, after step 4 of 6"):
            train(recipe, out=tmp_path / str(number), device="cpu", report=report)
        train(recipe, out=tmp_path / str(number), device="cpu", resume=True)
        assert same(tmp_path / str(number), whole)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_a_signal_to_the_whole_group_does_not_take_the_workers(recipe, whole, tmp_path):
    one, out = changed(recipe, data={"workers": 2}), tmp_path / "run"
    (process,) = apart.start(one, out)
    while not states.states(out) and process.is_alive():
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGTERM)
    process.join()
    assert process.exitcode == 130
    (process,) = apart.start(one, out)
    process.join()
    assert process.exitcode == 0
    assert same(out, whole)


def test_a_second_ctrl_c_ends_at_once(recipe, tmp_path, tells_each_step):
    def report(event):
        if isinstance(event, Progress):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as stop:
        train(recipe, out=tmp_path, device="cpu", report=report)
    assert not isinstance(stop.value, Stopped)


def test_trains_in_a_thread_where_no_signals_come(recipe, tmp_path):
    one = changed(recipe, optim={"epochs": 1})
    thread = threading.Thread(target=train, args=(one,), kwargs={"out": tmp_path, "device": "cpu"})
    thread.start()
    thread.join()
    assert (tmp_path / "best.safetensors").exists()


def cut(content):
    return content[: len(content) // 2]


def flip(content):
    place = len(content) * 2 // 3
    return content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [cut, flip, lambda _: b""], ids=["cut", "flipped", "empty"])
def test_a_damaged_state_is_named_and_the_one_before_taken(recipe, whole, tmp_path, tells_each_step, damage):
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, report=stop_at(2, 3))
    newest = states.states(tmp_path)[1]
    newest.write_bytes(damage(newest.read_bytes()))
    said = []
    train(recipe, out=tmp_path, device="cpu", resume=True, report=said.append)
    notes = [event.text for event in said if isinstance(event, Note)]
    assert notes[0].startswith(f"{newest}: damaged")
    assert notes[0].endswith("the state before it is taken")
    assert same(tmp_path, whole)


def test_a_damaged_state_takes_no_good_ones_place(recipe, tmp_path, tells_each_step):
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, report=stop_at(1, 3))
    good, damaged = states.states(tmp_path)
    damaged.write_bytes(b"")
    with pytest.raises(Stop):  # before anything was saved
        train(recipe, out=tmp_path, device="cpu", resume=True, report=stop_at(1, 3))
    assert states.states(tmp_path) == [good]


def test_a_state_that_can_not_be_read_is_passed_over(recipe, whole, tmp_path, tells_each_step, monkeypatch):
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, report=stop_at(2, 3))
    newest, really = states.states(tmp_path)[1], Path.read_bytes

    def read(path):
        if path == newest:
            raise OSError(5, "Input/output error")
        return really(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    said = []
    train(recipe, out=tmp_path, device="cpu", resume=True, report=said.append)
    notes = [event.text for event in said if isinstance(event, Note)]
    assert notes[0].startswith(f"{newest}: can not be read (Input/output error); the state before it is")
    assert same(tmp_path, whole)


def test_states_that_are_all_damaged_are_refused(recipe, tmp_path, tells_each_step):
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, report=stop_at(2, 3))
    for path in states.states(tmp_path):
        path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(ValueError, match="none of its 2 states can be read"):
        train(recipe, out=tmp_path, device="cpu", resume=True)


def test_a_full_disk_keeps_the_states(recipe, whole, tmp_path, tells_each_step, monkeypatch):
    really, writes = os.fsync, iter(range(1000))

    def full(number):
        if next(writes) > 7:
            raise OSError(28, "No space left on device")
        really(number)

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*state-\d+\.pt'"):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0)
    monkeypatch.undo()
    assert not list(tmp_path.glob(".*"))
    train(recipe, out=tmp_path, device="cpu", resume=True)
    assert same(tmp_path, whole)


def test_what_a_killed_process_left_is_cleared(recipe, tmp_path):
    tmp_path.joinpath(".state-000000003.pt.4711").write_bytes(b"half")
    tmp_path.joinpath(".mine").write_bytes(b"")
    train(changed(recipe, optim={"epochs": 1}), out=tmp_path, device="cpu")
    assert [file.name for file in tmp_path.glob(".*")] == [".mine"]


def test_another_recipe_is_refused_by_its_fields(recipe, tmp_path, tells_each_step):
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, report=stop_at(1, 2))
    for other, message in (
        (changed(recipe, optim={"lr": 1.0}), r"another training: optim\.lr was 0\.003, now 1\.0$"),
        (changed(recipe, model={"frames": 8}), r"model\.frames was 4, now 8$"),
        (dataclasses.replace(recipe, seed=3), r"seed was 0, now 3$"),
    ):
        with pytest.raises(ValueError, match=message):
            train(other, out=tmp_path, device="cpu", resume=True)
    with pytest.raises(ValueError, match="holds a training already: --resume goes on with it"):
        train(recipe, out=tmp_path, device="cpu")


def test_a_state_from_before_a_field_was_added(recipe, tmp_path, tells_each_step):
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, report=stop_at(1, 2))
    for path in states.states(tmp_path):
        state = states.load(path)
        del state.identity["optim.lr_batch"]
        states.save(tmp_path, state, total=int(path.stem.removeprefix("state-")))
    with pytest.raises(ValueError, match=r"another training: optim\.lr_batch was 0, now 8$"):
        train(changed(recipe, optim={"lr_batch": 8}), out=tmp_path, device="cpu", resume=True)
    train(recipe, out=tmp_path, device="cpu", resume=True)


def test_lists_may_move_but_not_change(recipe, tmp_path, tells_each_step):
    one, two = tmp_path / "one", tmp_path / "two"
    split = read_split(recipe.data)
    for folder in (one, two):
        folder.mkdir()
        for name, samples in (("train", split.train), ("val", split.val)):
            rows = [f"{sample.path} {split.classes[sample.label]}\n" for sample in samples]
            (folder / name).write_text("".join(rows))
    there, here = (
        changed(recipe, data={"train": str(f / "train"), "val": str(f / "val")}) for f in (one, two)
    )
    with pytest.raises(Stop):
        train(there, out=tmp_path / "run", device="cpu", save_minutes=0, report=stop_at(1, 2))
    lines = (two / "train").read_text().splitlines(keepends=True)
    (two / "train").write_text("".join(lines[1:]))
    with pytest.raises(ValueError, match=r"another training: training videos was '12, "):
        train(here, out=tmp_path / "run", device="cpu", resume=True)
    (two / "train").write_text("".join(lines))
    train(here, out=tmp_path / "run", device="cpu", resume=True)


def test_other_videos_are_refused_and_a_moved_folder_is_not(recipe, tmp_path, tells_each_step):
    root = make_folders(tmp_path / "videos", train=4, val=1)
    one = changed(recipe, data={"root": str(root)}, optim={"epochs": 2})
    with pytest.raises(Stop):
        train(one, out=tmp_path / "run", device="cpu", save_minutes=0, report=stop_at(1, 2))
    moved = root.rename(tmp_path / "moved")
    last = moved / "train/move_left/3.mp4"
    one = changed(one, data={"root": str(moved)})
    last.rename(tmp_path / "aside.mp4")
    with pytest.raises(ValueError, match=r"training videos was '8, checksum \w+', now '7, checksum \w+'$"):
        train(one, out=tmp_path / "run", device="cpu", resume=True)
    (tmp_path / "aside.mp4").rename(last)
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    train(one, out=tmp_path / "elsewhere", device="cpu", resume=True)


def test_resuming_what_is_finished_or_not_begun(recipe, whole, tmp_path):
    said = []
    assert (
        train(recipe, out=whole, device="cpu", resume=True, report=said.append) == whole / "best.safetensors"
    )
    assert [event.text for event in said if isinstance(event, Note)] == [
        f"{whole}: this training is finished"
    ]
    with pytest.raises(ValueError, match=r"optim\.epochs was 2, now 9"):
        train(changed(recipe, optim={"epochs": 9}), out=whole, device="cpu", resume=True)
    said.clear()
    train(changed(recipe, optim={"epochs": 1}), out=tmp_path, device="cpu", resume=True, report=said.append)
    assert any(isinstance(event, Note) and "no state to go on from yet" in event.text for event in said)

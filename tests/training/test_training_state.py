"""Saved training states: a damaged state is skipped, and a full disk or a kill never destroys a good one."""

import os
from pathlib import Path

import pytest

from tanet import train
from tanet.training import training_state as states
from tanet.training.trainer import Note
from tests.support.tiny_videos import changed
from tests.support.training_runs import Stop, same_result, stop_at
from tests.support.training_runs import finished_run as finished_run
from tests.support.training_runs import progress_every_step as progress_every_step
from tests.support.training_runs import recipe as recipe


def cut_in_half(content):
    return content[: len(content) // 2]


def flip_one_bit(content):
    index = len(content) * 2 // 3
    return content[:index] + bytes([content[index] ^ 16]) + content[index + 1 :]


@pytest.mark.parametrize("damage", [cut_in_half, flip_one_bit], ids=["cut", "flipped"])
def test_damaged_state_is_reported_and_previous_one_is_used(
    recipe, finished_run, tmp_path, progress_every_step, damage
):
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, on_event=stop_at(2, 3))
    newest = states.list_states(tmp_path)[1]
    newest.write_bytes(damage(newest.read_bytes()))
    said = []
    train(recipe, out=tmp_path, device="cpu", resume=True, on_event=said.append)
    notes = [event.text for event in said if isinstance(event, Note)]
    assert notes[0].startswith(f"{newest}: damaged")
    assert notes[0].endswith("using the state before it")
    assert same_result(tmp_path, finished_run)


def test_damaged_state_does_not_replace_good_one(recipe, tmp_path, progress_every_step):
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, on_event=stop_at(1, 3))
    good, damaged = states.list_states(tmp_path)
    damaged.write_bytes(b"")
    with pytest.raises(Stop):  # stops before another state is saved
        train(recipe, out=tmp_path, device="cpu", resume=True, on_event=stop_at(1, 3))
    assert states.list_states(tmp_path) == [good]


def test_unreadable_state_is_reported_and_previous_one_is_used(
    recipe, finished_run, tmp_path, progress_every_step, monkeypatch
):
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, on_event=stop_at(2, 3))
    newest, original = states.list_states(tmp_path)[1], Path.read_bytes

    def read(path):
        if path == newest:
            raise OSError(5, "Input/output error")
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    said = []
    train(recipe, out=tmp_path, device="cpu", resume=True, on_event=said.append)
    notes = [event.text for event in said if isinstance(event, Note)]
    assert notes[0].startswith(f"{newest}: cannot be read (Input/output error); using the state before it")
    assert same_result(tmp_path, finished_run)


def test_resume_fails_when_all_states_are_damaged(recipe, tmp_path, progress_every_step):
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, on_event=stop_at(2, 3))
    for path in states.list_states(tmp_path):
        path.write_bytes(cut_in_half(path.read_bytes()))
    with pytest.raises(ValueError, match="none of its 2 states can be read"):
        train(recipe, out=tmp_path, device="cpu", resume=True)


def test_full_disk_keeps_earlier_states(recipe, finished_run, tmp_path, progress_every_step, monkeypatch):
    original, writes = os.fsync, iter(range(1000))

    def full(number):
        if next(writes) > 7:
            raise OSError(28, "No space left on device")
        original(number)

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*state-\d+\.pt'"):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0)
    monkeypatch.undo()
    assert not list(tmp_path.glob(".*"))
    train(recipe, out=tmp_path, device="cpu", resume=True)
    assert same_result(tmp_path, finished_run)


def test_temporary_files_of_killed_process_are_removed(recipe, tmp_path):
    tmp_path.joinpath(".state-000000003.pt.4711").write_bytes(b"half")
    tmp_path.joinpath(".mine").write_bytes(b"")
    train(changed(recipe, optim={"epochs": 1}), out=tmp_path, device="cpu")
    assert [file.name for file in tmp_path.glob(".*")] == [".mine"]

"""States of a training: damaged ones are named and passed over, a full disk or a kill takes no good one."""

import os
from pathlib import Path

import pytest

from tanet import train
from tanet.training import training_state as states
from tanet.training.trainer import Note
from tests.support.tiny_videos import changed
from tests.support.training_runs import Stop, same, stop_at
from tests.support.training_runs import recipe as recipe
from tests.support.training_runs import tells_each_step as tells_each_step
from tests.support.training_runs import whole as whole


def cut(content):
    return content[: len(content) // 2]


def flip(content):
    place = len(content) * 2 // 3
    return content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [cut, flip, lambda _: b""], ids=["cut", "flipped", "empty"])
def test_a_damaged_state_is_named_and_the_one_before_taken(recipe, whole, tmp_path, tells_each_step, damage):
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, on_event=stop_at(2, 3))
    newest = states.list_states(tmp_path)[1]
    newest.write_bytes(damage(newest.read_bytes()))
    said = []
    train(recipe, out=tmp_path, device="cpu", resume=True, on_event=said.append)
    notes = [event.text for event in said if isinstance(event, Note)]
    assert notes[0].startswith(f"{newest}: damaged")
    assert notes[0].endswith("using the state before it")
    assert same(tmp_path, whole)


def test_a_damaged_state_takes_no_good_ones_place(recipe, tmp_path, tells_each_step):
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, on_event=stop_at(1, 3))
    good, damaged = states.list_states(tmp_path)
    damaged.write_bytes(b"")
    with pytest.raises(Stop):  # before anything was saved
        train(recipe, out=tmp_path, device="cpu", resume=True, on_event=stop_at(1, 3))
    assert states.list_states(tmp_path) == [good]


def test_a_state_that_can_not_be_read_is_passed_over(recipe, whole, tmp_path, tells_each_step, monkeypatch):
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, on_event=stop_at(2, 3))
    newest, really = states.list_states(tmp_path)[1], Path.read_bytes

    def read(path):
        if path == newest:
            raise OSError(5, "Input/output error")
        return really(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    said = []
    train(recipe, out=tmp_path, device="cpu", resume=True, on_event=said.append)
    notes = [event.text for event in said if isinstance(event, Note)]
    assert notes[0].startswith(f"{newest}: cannot be read (Input/output error); using the state before it")
    assert same(tmp_path, whole)


def test_states_that_are_all_damaged_are_refused(recipe, tmp_path, tells_each_step):
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, on_event=stop_at(2, 3))
    for path in states.list_states(tmp_path):
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

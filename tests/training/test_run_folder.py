"""A run folder resumes only with the same recipe and the same videos; the videos may have moved."""

import dataclasses

import pytest

from tanet import train
from tanet.checkpoints.checkpoint import Checkpoint, save
from tanet.data.annotations import read_split
from tanet.models.factory import build
from tanet.training import training_state as states
from tanet.training.trainer import Note
from tests.support.tiny_videos import changed, make_folders
from tests.support.training_runs import Stop, stop_at
from tests.support.training_runs import finished_run as finished_run
from tests.support.training_runs import progress_every_step as progress_every_step
from tests.support.training_runs import recipe as recipe


def test_resume_with_other_recipe_names_changed_field(recipe, tmp_path, progress_every_step):
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, on_event=stop_at(1, 2))
    for other, message in (
        (changed(recipe, optim={"lr": 1.0}), r"a different training run: optim\.lr was 0\.003, now 1\.0$"),
        (changed(recipe, model={"frames": 8}), r"model\.frames was 4, now 8$"),
        (dataclasses.replace(recipe, seed=3), r"seed was 0, now 3$"),
    ):
        with pytest.raises(ValueError, match=message):
            train(other, out=tmp_path, device="cpu", resume=True)
    with pytest.raises(ValueError, match="already holds a training run: continue it with --resume"):
        train(recipe, out=tmp_path, device="cpu")


def test_resume_accepts_state_without_newer_field(recipe, tmp_path, progress_every_step):
    with pytest.raises(Stop):
        train(recipe, out=tmp_path, device="cpu", save_minutes=0, on_event=stop_at(1, 2))
    for path in states.list_states(tmp_path):
        state = states.load(path)
        del state.identity["optim.lr_batch"]
        states.save(tmp_path, state, total=int(path.stem.removeprefix("state-")))
    with pytest.raises(ValueError, match=r"a different training run: optim\.lr_batch was 0, now 8$"):
        train(changed(recipe, optim={"lr_batch": 8}), out=tmp_path, device="cpu", resume=True)
    train(recipe, out=tmp_path, device="cpu", resume=True)


def test_resume_checks_init_when_new_layer_lr_scale_depends_on_it(recipe, tmp_path, progress_every_step):
    start = tmp_path / "start.safetensors"
    save(start, Checkpoint(build(recipe.model, classes=2), recipe, ("a", "b")))
    one = changed(recipe, model={"init": str(start)}, optim={"new_layer_lr_scale": 10.0})
    out = tmp_path / "run"
    with pytest.raises(Stop):
        train(one, out=out, device="cpu", save_minutes=0, on_event=stop_at(1, 2))
    start.unlink()
    with pytest.raises(
        ValueError, match=r"a different training run: model\.init was '.*start\.safetensors', now ''$"
    ):
        train(changed(one, model={"init": ""}), out=out, device="cpu", resume=True)
    train(one, out=out, device="cpu", resume=True)


def test_resume_accepts_moved_lists_but_not_changed_ones(recipe, tmp_path, progress_every_step):
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
        train(there, out=tmp_path / "run", device="cpu", save_minutes=0, on_event=stop_at(1, 2))
    lines = (two / "train").read_text().splitlines(keepends=True)
    (two / "train").write_text("".join(lines[1:]))
    with pytest.raises(ValueError, match=r"a different training run: training videos was '12, "):
        train(here, out=tmp_path / "run", device="cpu", resume=True)
    (two / "train").write_text("".join(lines))
    train(here, out=tmp_path / "run", device="cpu", resume=True)


def test_resume_accepts_moved_folder_but_not_other_videos(recipe, tmp_path, progress_every_step):
    root = make_folders(tmp_path / "videos", train=4, val=1)
    one = changed(recipe, data={"root": str(root)}, optim={"epochs": 2})
    with pytest.raises(Stop):
        train(one, out=tmp_path / "run", device="cpu", save_minutes=0, on_event=stop_at(1, 2))
    moved = root.rename(tmp_path / "moved")
    last = moved / "train/move_left/3.mp4"
    one = changed(one, data={"root": str(moved)})
    last.rename(tmp_path / "aside.mp4")
    with pytest.raises(ValueError, match=r"training videos was '8, checksum \w+', now '7, checksum \w+'$"):
        train(one, out=tmp_path / "run", device="cpu", resume=True)
    (tmp_path / "aside.mp4").rename(last)
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    train(one, out=tmp_path / "elsewhere", device="cpu", resume=True)


def test_resume_of_finished_or_unstarted_run(recipe, finished_run, tmp_path):
    said = []
    assert (
        train(recipe, out=finished_run, device="cpu", resume=True, on_event=said.append)
        == finished_run / "best.safetensors"
    )
    assert [event.text for event in said if isinstance(event, Note)] == [
        f"{finished_run}: this training run is already finished"
    ]
    with pytest.raises(ValueError, match=r"optim\.epochs was 2, now 9"):
        train(changed(recipe, optim={"epochs": 9}), out=finished_run, device="cpu", resume=True)
    said.clear()
    train(changed(recipe, optim={"epochs": 1}), out=tmp_path, device="cpu", resume=True, on_event=said.append)
    assert any(isinstance(event, Note) and "no state to resume from yet" in event.text for event in said)

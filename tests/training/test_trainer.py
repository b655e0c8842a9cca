"""Training writes its files, gives the same result for the same seed, and learns frame order with TAM."""

import copy
import csv
import dataclasses
import json

import pytest
import torch

from tanet import train
from tanet.checkpoints import checkpoint
from tanet.data.annotations import read_split
from tanet.data.loader import BadVideo
from tanet.data.samples import Split
from tanet.errors import UserError
from tanet.evaluation import evaluate
from tanet.recipes.recipe import from_dict
from tanet.training.trainer import EpochResult, Note, Progress
from tanet.video import VideoError
from tests.support.tiny_videos import TINY, changed, make, make_folders


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return changed(TINY, data={"root": str(make_folders(tmp_path_factory.mktemp("videos")))})


def test_writes_checkpoints_metrics_and_recipe(recipe, tmp_path):
    events = []
    recipe = changed(recipe, optim={"epochs": 2})
    best = train(recipe, out=tmp_path / "run", device="cpu", on_event=events.append)
    assert sorted(file.name for file in best.parent.iterdir()) == [
        "best.safetensors",
        "last.safetensors",
        "metrics.csv",
        "recipe.json",
    ]
    assert from_dict(json.loads((tmp_path / "run" / "recipe.json").read_text())) == recipe
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    results = [event for event in events if isinstance(event, EpochResult)]
    assert [float(row["val_top1"]) for row in rows] == [result.val_top1 for result in results]
    assert isinstance(events[0], Split)
    assert any(isinstance(event, Progress) and event.step == event.steps for event in events)
    model = checkpoint.load(best)
    assert model.classes == ("move_left", "move_right")
    assert model.info["val_top1"] == max(result.val_top1 for result in results)


def test_on_network_gets_network_before_first_step(recipe, tmp_path):
    seen = []

    def keep(network):
        seen.append((network.training, copy.deepcopy(network.state_dict())))

    train(recipe, out=tmp_path, device="cpu", on_network=keep)
    ((training, weights),) = seen
    assert training
    trained = checkpoint.load(tmp_path / "last.safetensors").network.state_dict()
    assert any(not torch.equal(weights[name], trained[name]) for name in weights)


def test_best_checkpoint_is_the_one_with_best_validation(recipe, tmp_path, monkeypatch):
    scores = iter((0.25, 0.75, 0.5))

    def fake_merge_scores(shares, samples, **_):
        right = int(len(samples) * next(scores))
        labels = [s.label if i < right else 1 - s.label for i, s in enumerate(samples)]
        return evaluate.Report(tuple(samples), ("a", "b"), torch.eye(2)[labels])

    monkeypatch.setattr(evaluate, "merge_scores", fake_merge_scores)
    recipe = changed(recipe, optim={"epochs": 6}, eval={"every": 2})
    best = train(recipe, out=tmp_path, device="cpu")
    assert checkpoint.load(best).info["epoch"] == 4
    assert checkpoint.load(tmp_path / "last.safetensors").info["epoch"] == 6


def test_single_class_is_rejected(tmp_path):
    recipe = changed(TINY, data={"root": str(make(tmp_path / "videos/train/only/a.mp4").parents[2])})
    with pytest.raises(ValueError, match="only one class found"):
        train(recipe, out=tmp_path / "run", device="cpu")


def test_same_seed_gives_same_weights(recipe, tmp_path):
    def weights(name, seed, workers=0):
        one = changed(dataclasses.replace(recipe, seed=seed), data={"workers": workers})
        train(one, out=tmp_path / name, device="cpu")
        return checkpoint.load(tmp_path / name / "last.safetensors").network.state_dict()

    first = weights("a", 0)
    for name, seed, workers in (("b", 0, 0), ("c", 0, 2)):
        again = weights(name, seed, workers)
        assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["head.weight"], weights("d", 1)["head.weight"])


def test_bad_files_are_reported_once_and_left_out(tmp_path):
    root = make_folders(tmp_path / "videos", train=5, val=5)
    bad = [root / "train/move_left/3.mp4", root / "val/move_right/0.mp4"]
    for path in bad:
        path.write_bytes(b"an error page")
    recipe = changed(TINY, data={"root": str(root)}, optim={"epochs": 3})
    states = []
    for workers in (0, 2):
        events = []
        one = changed(recipe, data={"workers": workers})
        best = train(one, out=tmp_path / str(workers), device="cpu", on_event=events.append)
        named = [event.error.path for event in events if isinstance(event, BadVideo)]
        assert named == bad
        counts = "1 of 10 training and 1 of 10 validation videos could not be read and were left out"
        assert [event.text for event in events if isinstance(event, Note)] == [counts]
        states.append(checkpoint.load(best.with_name("last.safetensors")).network.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    with pytest.raises(VideoError, match=r"move_left/3\.mp4: "):
        train(changed(recipe, data={"bad_files": "strict"}), out=tmp_path / "strict", device="cpu")
    with pytest.raises(ValueError, match=r"1 of 10 videos cannot be read, more than .* 0\.05"):
        train(changed(recipe, data={"max_bad": 0.05}), out=tmp_path / "many", device="cpu")


def test_training_starts_from_checkpoint_with_other_number_of_frames(recipe, tmp_path):
    first = train(recipe, out=tmp_path / "first", device="cpu")
    on = changed(recipe, model={"init": str(first)}, optim={"lr": 1e-12})
    said = []
    again = checkpoint.load(train(on, out=tmp_path / "again", device="cpu", on_event=said.append)).network
    before = checkpoint.load(first).network
    assert torch.allclose(again.head.weight, before.head.weight)
    assert not any(isinstance(event, Note) for event in said)
    longer = changed(on, model={"frames": 8})
    with pytest.raises(ValueError, match="init-frames interpolate"):
        train(longer, out=tmp_path / "refused", device="cpu")
    longer = changed(longer, model={"init_frames": "interpolate"})
    train(longer, out=tmp_path / "longer", device="cpu", on_event=said.append)
    assert any(isinstance(event, Note) and "4 frames adapted to 8" in event.text for event in said)


def test_folder_of_another_run_is_rejected(recipe, tmp_path):
    train(recipe, out=tmp_path, device="cpu")
    before = (tmp_path / "last.safetensors").read_bytes()
    with pytest.raises(ValueError, match="already holds a training run"):
        train(recipe, out=tmp_path, device="cpu")
    assert (tmp_path / "last.safetensors").read_bytes() == before


def test_nonfinite_loss_stops_training(recipe, tmp_path):
    with pytest.raises(ValueError, match=r"loss or gradient not finite in epoch \d, step \d, with "):
        train(changed(recipe, optim={"lr": 1e30, "epochs": 3}), out=tmp_path, device="cpu")


def test_unknown_device_is_rejected(recipe, tmp_path):
    with pytest.raises(ValueError, match="device 'tpu' cannot be used"):
        train(recipe, out=tmp_path, device="tpu")


@pytest.mark.slow
def test_tam_overfits_frame_order(recipe, tmp_path):
    quick = {"method": "adamw", "lr": 0.003, "schedule": "cosine", "epochs": 24, "batch": 8}
    recipe = changed(recipe, optim=quick, data={"scales": (1.0,)}, eval={"every": 24})
    train(recipe, out=tmp_path, device="cpu")
    model = checkpoint.load(tmp_path / "last.safetensors")
    samples = read_split(recipe.data).train
    report = evaluate.evaluate(model.network, samples, classes=model.classes, recipe=recipe)
    assert report.accuracy.top1 == 1


@pytest.mark.slow
def test_second_training_in_a_folder_is_refused_while_the_first_runs(recipe, tmp_path):
    refused = []

    def start_another(event):
        if isinstance(event, Progress) and not refused:
            with pytest.raises(UserError, match=r"run: in use \(a training by this process"):
                train(recipe, out=tmp_path / "run", device="cpu")
            refused.append(True)

    best = train(recipe, out=tmp_path / "run", device="cpu", on_event=start_another)
    assert refused
    assert checkpoint.load(best)
    with pytest.raises(UserError, match="already holds a training run"):
        train(recipe, out=tmp_path / "run", device="cpu")


def test_folder_of_another_run_is_refused_before_the_videos_are_searched(recipe, tmp_path):
    (tmp_path / "last.safetensors").touch()
    with pytest.raises(UserError, match="already holds a training run"):
        train(changed(recipe, data={"root": "nowhere"}), out=tmp_path, device="cpu")


def test_failed_start_leaves_no_folder(recipe, tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        train(changed(recipe, data={"root": "nowhere"}), out=tmp_path / "a" / "run", device="cpu")
    assert not (tmp_path / "a").exists()

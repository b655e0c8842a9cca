"""Networks that train side by side end with the weights and answers of separate trainings."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from projects.compare import side_by_side
from projects.compare.side_by_side import evaluate_side_by_side, train_side_by_side
from tanet.checkpoints import checkpoint
from tanet.data.annotations import read_split
from tanet.evaluation.evaluate import evaluate
from tanet.recipes.networks3d_factored import VideoResNet
from tanet.runtime.device import pick_device
from tanet.training.trainer import EpochResult, train
from tests.support.tiny_videos import TINY, make_folders

SETTINGS = ({"temporal": "tsm"}, {"temporal": "tam", "static_kernel": "random"})


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    root = make_folders(tmp_path_factory.mktemp("videos") / "videos", train=6, val=3)
    optim = replace(TINY.optim, method="adamw", epochs=3, lr=0.01, batch=4, warmup=1, schedule="cosine")
    return replace(TINY, data=replace(TINY.data, root=str(root)), optim=replace(optim, clip_norm=5.0))


@pytest.mark.slow
@pytest.mark.parametrize(("graphs", "method"), [(False, "adamw"), (True, "sgd")])
def test_side_by_side_equals_separate_trainings(graphs, method, recipe, tmp_path, monkeypatch):
    """With a stand-in for CUDA graphs, the warm-up of the capture must leave no trace either.

    With graphs, learning rates are float32. AdamW amplifies such differences where gradients are almost 0.
    """
    recipe = replace(recipe, optim=replace(recipe.optim, method=method))
    if graphs and pick_device().type == "cpu":
        monkeypatch.setattr(side_by_side, "uses_graphs", lambda _: True)
        monkeypatch.setattr(side_by_side, "capture", lambda step, **_: [step() for _ in range(3)] and step)
    models = [replace(recipe.model, dropout=0.0, **own) for own in SETTINGS]
    # This network normalises pixels in another way.
    models.append(VideoResNet(frames=recipe.model.frames, width=8, blocks=(1, 1, 1, 1), dropout=0.0))
    recipes = [replace(recipe, model=model) for model in models]
    split = read_split(recipe.data, seed=recipe.seed)
    together = train_side_by_side(recipes, split)
    reports = evaluate_side_by_side([own.network for own in together], split, recipe)
    cpu = pick_device().type == "cpu"
    tolerance = {"rtol": 0, "atol": 0.05 if not cpu else 1e-5 if graphs else 0}
    for number, own in enumerate(recipes):
        results = []
        train(own, out=tmp_path / str(number), on_event=results.append)
        alone = checkpoint.load(tmp_path / str(number) / "last.safetensors", device=pick_device())
        state = alone.network.state_dict()
        for name, value in together[number].network.state_dict().items():
            if cpu and not name.endswith("num_batches_tracked"):  # counts statistics of earlier epochs
                torch.testing.assert_close(value, state[name], **tolerance)
        last = [event for event in results if isinstance(event, EpochResult)][-1]
        found = evaluate(alone.network, split.val, classes=split.classes, recipe=own)
        torch.testing.assert_close(
            reports[number].scores, found.scores, rtol=0, atol=1e-6 + tolerance["atol"]
        )
        assert together[number].top1 == pytest.approx(last.train_top1, abs=0 if cpu else 0.2)


def test_targets_of_one_class_are_labels(recipe):
    recipe = replace(
        recipe, model=replace(recipe.model, dropout=0.0), optim=replace(recipe.optim, smoothing=0.1)
    )
    split = read_split(recipe.data, seed=recipe.seed)
    targets = F.one_hot(torch.tensor([sample.label for sample in split.train])).float()
    by_label, by_target = (train_side_by_side([recipe], split, targets=own)[0] for own in (None, targets))
    assert by_target.top1 == by_label.top1
    assert by_target.loss == pytest.approx(by_label.loss, rel=1e-4)


def test_only_networks_may_differ(recipe):
    split = read_split(recipe.data, seed=recipe.seed)
    for other in (replace(recipe, seed=1), replace(recipe, model=replace(recipe.model, frames=8))):
        with pytest.raises(ValueError, match="differ in the network alone"):
            train_side_by_side([recipe, other], split)


def test_infinite_loss_is_an_error(recipe):
    wild = replace(recipe, optim=replace(recipe.optim, lr=1e30, warmup=0, epochs=1, clip_norm=0.0))
    with pytest.raises(ValueError, match="the loss became infinite or NaN"):
        train_side_by_side([wild], read_split(recipe.data, seed=recipe.seed))

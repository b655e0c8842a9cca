"""Networks that train side by side end with the weights and answers of separate trainings."""

from dataclasses import replace

import pytest
import torch

from projects.compare.side_by_side import evaluate_side_by_side, train_side_by_side
from tanet.checkpoints import checkpoint
from tanet.data.annotations import read_split
from tanet.evaluation.evaluate import evaluate
from tanet.runtime.device import pick_device
from tanet.training.trainer import EpochResult, train
from tests.support.tiny_videos import TINY, make_folders

SETTINGS = ({"temporal": "tsm"}, {"temporal": "tam", "kernel_prior": "random"}, {"temporal": "none"})


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    root = make_folders(tmp_path_factory.mktemp("videos") / "videos", train=6, val=3)
    optim = replace(TINY.optim, method="adamw", epochs=3, lr=0.01, batch=4, warmup=1, schedule="cosine")
    return replace(TINY, data=replace(TINY.data, root=str(root)), optim=replace(optim, clip_norm=5.0))


@pytest.mark.slow
def test_side_by_side_equals_separate_trainings(recipe, tmp_path):
    recipes = [replace(recipe, model=replace(recipe.model, dropout=0.0, **own)) for own in SETTINGS]
    split = read_split(recipe.data, seed=recipe.seed)
    together = train_side_by_side(recipes, split)
    reports = evaluate_side_by_side([own.network for own in together], split, recipe)
    exact = pick_device().type == "cpu"
    for number, own in enumerate(recipes):
        results = []
        train(own, out=tmp_path / str(number), on_event=results.append)
        alone = checkpoint.load(tmp_path / str(number) / "last.safetensors", device=pick_device())
        state = alone.network.state_dict()
        for name, value in together[number].network.state_dict().items():
            if exact and not name.endswith("num_batches_tracked"):  # counts statistics of earlier epochs
                assert torch.equal(value, state[name]), name
        last = [event for event in results if isinstance(event, EpochResult)][-1]
        found = evaluate(alone.network, split.val, classes=split.classes, recipe=own)
        tolerance = {"rtol": 0, "atol": 1e-6 if exact else 0.05}
        torch.testing.assert_close(reports[number].scores, found.scores, **tolerance)
        assert together[number].top1 == pytest.approx(last.train_top1, abs=0 if exact else 0.2)


def test_only_networks_may_differ(recipe):
    split = read_split(recipe.data, seed=recipe.seed)
    for other in (replace(recipe, seed=1), replace(recipe, model=replace(recipe.model, frames=8))):
        with pytest.raises(ValueError, match="differ in the network alone"):
            train_side_by_side([recipe, other], split)


def test_infinite_loss_is_an_error(recipe):
    wild = replace(recipe, optim=replace(recipe.optim, lr=1e30, warmup=0, epochs=1, clip_norm=0.0))
    with pytest.raises(ValueError, match="the loss became infinite or NaN"):
        train_side_by_side([wild], read_split(recipe.data, seed=recipe.seed))

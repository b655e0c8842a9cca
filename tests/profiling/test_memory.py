"""The estimate of memory against what a real backward pass keeps, and against what was measured."""

import dataclasses

import pytest
import torch

from tanet.models.factory import build
from tanet.profiling.memory import training_memory
from tanet.recipes import RECIPES
from tanet.recipes.recipe import Data, Network2D, Optim, Recipe

TINY = Recipe(data=Data(size=32), model=Network2D(backbone="resnet18_w16", frames=4), optim=Optim(batch=16))


def with_model(recipe, temporal):
    return dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, temporal=temporal))


@pytest.mark.parametrize("temporal", ["none", "tam", "tsm", "i3d"])
def test_memory_is_what_a_backward_pass_keeps(temporal):
    """Against a real forward pass: what its graph keeps is counted tensor by tensor."""
    recipe = with_model(TINY, temporal)
    network = build(recipe.model, classes=2).train()
    own = {tensor.data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage, storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = network(torch.randn(3, 4, 3, 32, 32))
    parameters = sum(p.numel() for p in network.parameters())
    real = sum(size for _, size in kept.values()) + 3 * 4 * 3 * 32 * 32 * 4 + 12 * parameters
    assert logits.requires_grad
    assert training_memory(recipe, classes=2, clips=3, half=False) == pytest.approx(real, rel=0.05)


def test_memory_on_record():
    """ResNet-50, 32 clips of 8 × 224², bfloat16, compiled, on an H100: see LOG.md."""
    for temporal, measured in (("none", 10.63), ("tam", 10.89)):
        recipe = with_model(RECIPES["kinetics400"], temporal)
        estimate = training_memory(recipe, classes=400, clips=32, half=True)
        assert estimate / 2**30 == pytest.approx(measured, rel=0.1)


def test_adamw_keeps_twice_sgds_state():
    sgd = training_memory(TINY, classes=2, clips=1, half=False)
    recipe = dataclasses.replace(TINY, optim=Optim(method="adamw"))
    adamw = training_memory(recipe, classes=2, clips=1, half=False)
    assert adamw - sgd == 4 * sum(p.numel() for p in build(TINY.model, classes=2).parameters())


def test_frames_that_do_not_pass_are_named():
    recipe = dataclasses.replace(TINY, model=Network2D(backbone="inception_v3"))
    with pytest.raises(ValueError, match="frames of 32 × 32 pixels do not fit this network"):
        training_memory(recipe, classes=2, clips=1, half=False)

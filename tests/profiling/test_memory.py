"""The estimate of training memory matches the tensors saved for backward and measured GPU memory."""

import dataclasses

import pytest
import torch

from tanet.models.factory import build
from tanet.models.freeze import freeze
from tanet.profiling.memory import training_memory
from tanet.recipes import RECIPES
from tanet.recipes.recipe import Data, Network2D, Optim, Recipe
from tests.support.narrow_networks import NARROW

TINY = Recipe(data=Data(size=32), model=Network2D(backbone="resnet18_w16", frames=4), optim=Optim(batch=16))


def with_model(recipe, temporal):
    return dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, temporal=temporal))


def bytes_of_three_clips(network):
    """Run a real forward pass, and count the bytes of the clips and of each tensor that autograd saves."""
    own = {tensor.data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage, storage.nbytes())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = network(torch.randn(3, network.frames, 3, 32, 32))
    assert logits.requires_grad
    return sum(size for _, size in kept.values()) + 3 * network.frames * 3 * 32 * 32 * 4


@pytest.mark.parametrize(
    "name", ["none", "tam", "tsm", "i3d", "3d slowonly", "3d tam-slowfast", "3d nl-i3d", "3d x3d"]
)
def test_estimate_matches_tensors_saved_for_backward(name):
    is_3d = name.startswith("3d ")
    recipe = dataclasses.replace(TINY, model=NARROW[name[3:]]) if is_3d else with_model(TINY, name)
    network = build(recipe.model, classes=2).train()
    parameters = sum(p.numel() for p in network.parameters())
    real = bytes_of_three_clips(network) + 12 * parameters
    assert training_memory(recipe, classes=2, clips=3, half=False) == pytest.approx(real, rel=0.05)


@pytest.mark.parametrize("trained", ["head", "from-res4"])
@pytest.mark.parametrize("name", ["none", "tam", "3d slowfast", "3d x3d"])
def test_frozen_layers_need_only_their_weights(name, trained):
    is_3d = name.startswith("3d ")
    recipe = dataclasses.replace(TINY, model=NARROW[name[3:]]) if is_3d else with_model(TINY, name)
    recipe = dataclasses.replace(
        recipe,
        model=dataclasses.replace(recipe.model, init="start.safetensors"),
        optim=dataclasses.replace(recipe.optim, trained=trained),
    )
    network = build(recipe.model, classes=2).train()
    network.temporal_trained = True
    freeze(network, trained=trained)
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in network.parameters()]
    weights = sum(size * (12 if is_trained else 4) for size, is_trained in sizes)
    real = bytes_of_three_clips(network) + weights
    assert training_memory(recipe, classes=2, clips=3, half=False) == pytest.approx(real, rel=0.05)
    whole = dataclasses.replace(recipe, optim=dataclasses.replace(recipe.optim, trained="all"))
    assert training_memory(whole, classes=2, clips=3, half=False) > 1.1 * real


def test_estimate_matches_recorded_gpu_memory():
    """Measured for ResNet-50, 32 clips of 8 × 224², bfloat16, compiled, on an H100 (see LOG.md)."""
    for temporal, measured in (("none", 10.63), ("tam", 10.89)):
        recipe = with_model(RECIPES["kinetics400"], temporal)
        estimate = training_memory(recipe, classes=400, clips=32, half=True)
        assert estimate / 2**30 == pytest.approx(measured, rel=0.1)


def test_adamw_needs_twice_the_state_of_sgd():
    sgd = training_memory(TINY, classes=2, clips=1, half=False)
    recipe = dataclasses.replace(TINY, optim=Optim(method="adamw"))
    adamw = training_memory(recipe, classes=2, clips=1, half=False)
    assert adamw - sgd == 4 * sum(p.numel() for p in build(TINY.model, classes=2).parameters())


def test_too_small_frames_are_rejected():
    recipe = dataclasses.replace(TINY, model=Network2D(backbone="inception_v3"))
    with pytest.raises(ValueError, match="frames of 32 × 32 pixels do not fit this network"):
        training_memory(recipe, classes=2, clips=1, half=False)

"""Folding BatchNorms and `optimize` leave the logits of a network unchanged."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from tanet.models.backbones2d import BACKBONES
from tanet.models.factory import build
from tanet.models.fusion.fold_batch_norm import fold_batch_norms
from tanet.models.meta import on_meta
from tanet.recipes.recipe import Network2D
from tests.support.thin_networks import thin_networks as thin_networks


def build_with_random_norms(model):
    """Build a network in evaluation mode whose BatchNorms have random weights and statistics."""
    torch.manual_seed(0)
    network = build(model, classes=5).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    nn.init.normal_(network.head.weight)
    return network.eval()


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet50", "mobilenet_v2", "shufflenet_v2_x1_0", "inception_v3"]
)
def test_folding_removes_every_norm_and_keeps_logits(name):
    network = build_with_random_norms(Network2D(backbone=name, frames=2))
    clips = torch.randn(1, 2, 3, 96, 96, dtype=torch.float64)
    with torch.no_grad():
        expected = network(clips)
        norms = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
        assert fold_batch_norms(network.backbone) == norms
        torch.testing.assert_close(network(clips), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "model",
    [
        Network2D(backbone="resnet18", temporal="i3d", frames=2),
        Network2D(backbone="resnet18", temporal="nonlocal", frames=2),
        Network2D(backbone="resnet50", temporal="tam", position="d", frames=2),
        Network2D(backbone="inception_v3", temporal="i3d", frames=2),
    ],
)
def test_folding_keeps_logits_of_networks_with_temporal_modules(model):
    network = build_with_random_norms(model)
    for name, parameter in network.named_parameters():
        if ".temporal." in name:
            nn.init.normal_(parameter, std=0.1)
    clips = torch.randn(1, 2, 3, 96, 96, dtype=torch.float64)
    with torch.no_grad():
        expected = network(clips)
        fold_batch_norms(network.backbone)
        torch.testing.assert_close(network(clips), expected, rtol=1e-9, atol=1e-9)


def test_optimize_keeps_logits_and_original_weights(thin_networks, monkeypatch):
    # Tracing shows whether there is one graph. tests/long/test_optimize.py generates code, which takes long.
    trace = partial(torch.compile, fullgraph=True, backend="aot_eager")
    monkeypatch.setattr(torch, "compile", lambda network, options: trace(network))
    model = Network2D(backbone="thin_basic", temporal="tam", frames=2, stages=("res5",))
    network = build_with_random_norms(model).float()
    before = copy.deepcopy(network.state_dict())
    clips = torch.randn(2, 2, 3, 64, 64)
    with torch.inference_mode():
        fast = network.optimize(compile=True)
        torch.testing.assert_close(fast(clips), network(clips), rtol=1e-3, atol=1e-3)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.slow
def test_compiled_code_of_2d_network_is_not_reused_for_tanet(thin_networks):
    """Without the guard in VideoNet, torch.compile would reuse the code: it does not guard on hooks."""
    torch.compiler.reset()
    networks = [
        build_with_random_norms(Network2D(backbone="thin_basic", temporal=name, frames=2, stages=("res5",)))
        for name in ("none", "tam")
    ]
    fused = copy.deepcopy(networks[1])
    fused.absorb_batch_norms()
    clips = torch.randn(2, 2, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        for network in (*networks, fused):
            compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
            torch.testing.assert_close(compiled(clips), network(clips), rtol=1e-9, atol=1e-9)


def test_norms_of_every_backbone_are_folded():
    with on_meta():
        for name in BACKBONES:
            assert fold_batch_norms(BACKBONES[name](classes=3)) > 10


def test_norm_with_hook_or_without_running_statistics_is_kept():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    network[1].register_forward_pre_hook(lambda _, inputs: (inputs[0].relu(),))
    assert fold_batch_norms(network) == 0
    assert (
        fold_batch_norms(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False))) == 0
    )


def test_optimize_rejects_unknown_precision():
    network = build(Network2D(backbone="resnet18_w16", frames=2), classes=3)
    with pytest.raises(ValueError, match="choose from float32, bfloat16, float16"):
        network.optimize(precision="int8")

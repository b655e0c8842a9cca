"""A network whose TAMs absorb BatchNorms and convolutions keeps logits, gradients and parameter names."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tanet import TAM, build, plug
from tanet.models.backbones2d import BACKBONES
from tanet.models.fusion.fuse_tam import absorb_batch_norms, absorb_convs
from tanet.models.meta import on_meta
from tanet.models.temporal import TEMPORAL
from tanet.models.temporal.absorbed_norm import AbsorbedBatchNorm
from tanet.ops import squeeze_maps
from tanet.profiling.flops import build_on_meta
from tanet.recipes.recipe import Network2D
from tests.support.thin_networks import thin_networks as thin_networks


@pytest.mark.parametrize("order", ["tam", "tanet-r"])
@pytest.mark.parametrize(
    ("backbone", "sites"),
    [("resnet18_w16", 8), ("thin_bottleneck", 5), ("mobilenet_v2", 16), ("shufflenet_v2_x1_0", 16)],
)
def test_absorbed_norms_keep_logits_gradients_and_state_dict(backbone, sites, order, thin_networks):
    torch.manual_seed(0)
    plain = build(Network2D(backbone=backbone, temporal=order, frames=4, dropout=0.0), classes=5).double()
    nn.init.normal_(plain.head.weight)
    fused = copy.deepcopy(plain)
    assert absorb_batch_norms(fused.backbone) == sites
    clips, labels = torch.randn(2, 4, 3, 64, 64, dtype=torch.float64), torch.tensor([0, 1])
    for network in (plain, fused):
        F.cross_entropy(network(clips), labels).backward()
    gradients = zip(plain.parameters(), fused.parameters(), strict=True)
    largest = max(p.grad.abs().max() for p in plain.parameters())
    assert max((p.grad - q.grad).abs().max() for p, q in gradients) <= 1e-9 * largest
    state = fused.state_dict()
    assert list(state) == list(plain.state_dict())
    for name, tensor in plain.state_dict().items():  # includes the running statistics
        torch.testing.assert_close(state[name], tensor, rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        torch.testing.assert_close(fused.eval()(clips), plain.eval()(clips), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("backbone", "order", "convs"),
    [
        ("resnet18_w16", "tam", 0),  # only 1×1 convolutions can be absorbed; these are 3×3
        ("thin_bottleneck", "tam", 5),
        ("thin_bottleneck", "tanet-r", 5),
        ("mobilenet_v2", "tam", 16),
        ("shufflenet_v2_x1_0", "tam", 16),
    ],
)
@torch.no_grad()
def test_absorbed_convs_keep_logits(backbone, order, convs, thin_networks):
    torch.manual_seed(0)
    network = build(Network2D(backbone=backbone, temporal=order, frames=4), classes=5).double().eval()
    nn.init.normal_(network.head.weight)
    clips = torch.randn(2, 4, 3, 64, 64, dtype=torch.float64)
    expected = network(clips)
    # Without an absorbed norm, the input X of a TAM is not the output of the convolution.
    assert absorb_convs(network.backbone) == 0
    network.absorb_batch_norms()
    assert absorb_convs(network.backbone) == convs
    torch.testing.assert_close(network(clips), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(copy.deepcopy(network)(clips), expected, rtol=1e-9, atol=1e-9)
    assert absorb_convs(network.backbone) == 0


def test_absorbed_conv_gets_same_gradient():
    """The TAM then owns the convolution's parameters, also in copies and pickles."""
    torch.manual_seed(0)
    plain = build(Network2D(backbone="shufflenet_v2_x1_0", frames=2, dropout=0.0), classes=5).double()
    nn.init.normal_(plain.head.weight)
    fused = copy.deepcopy(plain)
    fused.absorb_batch_norms()
    absorb_convs(fused.backbone)
    clips, labels = torch.randn(2, 2, 3, 64, 64, dtype=torch.float64), torch.tensor([0, 1])
    for network in (plain, fused):
        F.cross_entropy(network(clips), labels).backward()
    block, taker = plain.backbone.stage2[0], fused.backbone.stage2[0].branch2[3].temporal
    expected = block.branch2[0].weight.grad
    assert expected.abs().max() > 0
    torch.testing.assert_close(taker.conv.weight.grad, expected, rtol=1e-7, atol=1e-12)
    twin = pickle.loads(pickle.dumps(fused)).eval()
    with torch.no_grad():
        expected = twin(clips)
        assert torch.equal(fused.eval()(clips), expected)
        twin.backbone.stage2[0].branch2[3].temporal.conv.weight.zero_()
        assert not torch.equal(twin(clips), expected)
        assert torch.equal(fused(clips), expected)


@pytest.mark.parametrize("where", ["branch2.1", "branch2.2"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_norm_or_relu_with_hook_is_not_absorbed(where, when):
    with on_meta():
        network = build(Network2D(backbone="shufflenet_v2_x1_0", frames=2), classes=3)
    _hook(network.backbone.stage2[0].get_submodule(where), when)
    assert absorb_batch_norms(network.backbone) == 15


@pytest.mark.parametrize("when", ["before", "after"])
def test_conv_with_hook_is_not_absorbed(when):
    with on_meta():
        network = build(Network2D(backbone="shufflenet_v2_x1_0", frames=2), classes=3)
    absorb_batch_norms(network.backbone)
    _hook(network.backbone.stage2[0].branch2[0], when)
    assert absorb_convs(network.backbone) == 15


def _hook(module, when):
    if when == "before":
        module.register_forward_pre_hook(lambda *_: None)
    else:
        module.register_forward_hook(lambda *_: None)


@torch.no_grad()
def test_shared_tam_and_shared_norm_are_not_absorbed():
    """A TAM shared by several blocks absorbs no norm; a norm shared by several blocks is not absorbed."""
    torch.manual_seed(0)
    network = build(Network2D(backbone="resnet18_w16", temporal="none", frames=2), classes=3).double()
    shared = {}
    plug(network.backbone, lambda channels: shared.setdefault(channels, TAM(channels, frames=2).double()))
    nn.init.normal_(network.head.weight)
    clips = torch.randn(1, 2, 3, 32, 32, dtype=torch.float64)
    expected = network.eval()(clips)
    assert network.absorb_batch_norms() == 0
    torch.testing.assert_close(network(clips), expected, rtol=1e-9, atol=1e-9)

    network = build(Network2D(backbone="resnet18_w16", frames=2), classes=3).double().eval()
    nn.init.normal_(network.head.weight)
    one, two = network.backbone.layer1
    two.bn1 = one.bn1
    expected = network(clips)
    assert network.absorb_batch_norms() == 6
    torch.testing.assert_close(network(clips), expected, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_frozen_norm_gives_same_maps():
    torch.manual_seed(0)
    tam, norm = TAM(6, frames=4).double().eval(), AbsorbedBatchNorm(6).double().eval()
    for tensor in norm.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    tam.absorb_norm(norm, "relu")
    x = torch.randn(8, 6, 3, 2, dtype=torch.float64)
    expected = tam(x)
    norm.frozen = norm.scale_and_shift()
    norm.weight.fill_(torch.nan)
    torch.testing.assert_close(tam(x), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("kernel", "frames"), [(9, 4), (3, 65)])
def test_moments_and_filter_use_same_backend(kernel, frames, monkeypatch):
    """With different backends the moments would lack a gradient that the filter relies on."""
    asked, used = [], []

    def choose(x, *, taps=3, frames=8):
        asked.append((taps, frames))
        return "torch"

    def compute(x, *, backend):
        used.append(backend)
        return x.mean((0, 2, 3)), x.var((0, 2, 3))

    tam = TAM(4, frames=frames, kernel=kernel)
    tam.norm, tam.act = AbsorbedBatchNorm(4), "relu"
    monkeypatch.setattr("tanet.models.temporal.tam.backend_for", choose)
    # Must not be called again.
    monkeypatch.setattr("tanet.ops.squeeze_filter.op.backend_for", lambda *_, **__: 1 / 0)
    monkeypatch.setattr("tanet.models.temporal.absorbed_norm.moments", compute)
    tam(torch.randn(frames, 4, 2, 2))
    assert asked[-1] == (kernel, frames)
    assert used == ["torch"]


def test_squeezed_maps_can_be_filtered_only_once():
    taken = squeeze_maps(torch.randn(4, 3, 2, 2), frames=4, taps=3, gated=False)
    kernel = torch.ones(1, 3, 3)
    taken.filter(kernel)
    with pytest.raises(ValueError, match="these maps were already filtered"):
        taken.filter(kernel)


def test_copies_and_pickles_own_their_norms():
    torch.manual_seed(0)
    network = build(Network2D(backbone="resnet18_w16", frames=2), classes=3)
    absorb_batch_norms(network.backbone)
    network.eval()
    clips = torch.randn(1, 2, 3, 32, 32)
    with torch.no_grad():
        expected = network(clips)
        for twin in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
            assert torch.equal(twin(clips), expected)
            twin.backbone.layer1[0].bn1.weight.zero_()
            assert not torch.equal(twin(clips), expected)
            assert torch.equal(network(clips), expected)


def test_networks_without_absorbable_norms_are_unchanged():
    for model in (Network2D(temporal="tsm"), Network2D(position="a"), Network2D(temporal="none")):
        with on_meta():
            network = build(model, classes=3)
        assert absorb_batch_norms(network.backbone) == 0


@pytest.mark.parametrize("temporal", TEMPORAL)
def test_networks_with_any_temporal_module_can_absorb(temporal):
    network = build_on_meta(Network2D(backbone="resnet18_w16", temporal=temporal, frames=4), classes=3)
    tams = sum(isinstance(module, TAM) for module in network.modules())
    assert network.absorb_batch_norms() == tams


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("temporal", ["none", "tam"])
def test_networks_with_any_backbone_can_absorb(backbone, temporal):
    if backbone.startswith("blresnet"):
        temporal = "none"  # big-little networks have no places for temporal modules
    network = build_on_meta(Network2D(backbone=backbone, temporal=temporal, frames=4), classes=3)
    assert (network.absorb_batch_norms() > 0) == (temporal == "tam")


def test_second_absorb_changes_nothing():
    with on_meta():
        network = build(Network2D(backbone="resnet18", frames=2), classes=3)
    assert absorb_batch_norms(network.backbone) == 8
    assert absorb_batch_norms(network.backbone) == 0


def test_norm_before_shared_relu_is_not_absorbed():
    """A block of torchvision calls one ReLU module at several positions, so no TAM may absorb it."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
            self.conv2, self.bn2 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
            self.relu = nn.ReLU()

    network = nn.Module()
    network.layer1 = nn.Sequential(Block())
    plug(network, lambda channels: TAM(channels, frames=2))
    assert absorb_batch_norms(network) == 0


def test_norm_without_weights_is_not_absorbed():
    with on_meta():
        network = build(Network2D(backbone="resnet18", frames=2), classes=3)
        network.backbone.layer1[0].bn1 = nn.BatchNorm2d(64, affine=False)
    assert absorb_batch_norms(network.backbone) == 7

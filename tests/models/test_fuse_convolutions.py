"""Fusing convolutions in a traced network keeps its logits, and leaves alone what it must not change."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tanet.models.factory import build
from tanet.models.fusion import fuse_convolutions as fusion
from tanet.recipes.recipe import Network2D
from tests.support.narrow_networks import NARROW, randomize_norms

NETWORKS = {
    **{name: NARROW[name] for name in ("slowfast", "x3d", "ip-csn", "s3d-g", "i3d-mmaction2")},
    "tanet": Network2D(backbone="resnet18_w16", temporal="tam", frames=2),
    "tsm-mobilenet": Network2D(backbone="mobilenet_v2", temporal="tsm", frames=2),
}


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    """Fuse convolutions on a CPU, where the operators compute with PyTorch's operations."""
    monkeypatch.setattr(fusion, "_replaceable", lambda weight, half: True)
    torch.compiler.reset()


def fused(module, *inputs):
    """Return the outputs of the fused module, and the number of calls of each of tanet's operators."""
    calls = []

    def backend(graph_module, _):
        fusion.fuse_convolutions(graph_module)
        names = [str(node.target) for node in graph_module.graph.nodes]
        calls.extend(name.split(".")[1] for name in names if name.startswith("tanet."))
        return graph_module

    with torch.no_grad():
        y = torch.compile(module, backend=backend)(*inputs)
    return y, {name: calls.count(name) for name in calls}


@pytest.mark.parametrize("name", NETWORKS)
def test_fused_networks_keep_their_logits(name):
    torch.manual_seed(0)
    network = randomize_norms(build(NETWORKS[name], classes=5)).double().eval()
    nn.init.normal_(network.head.weight)
    fast = network.optimize().network.double()
    clips = torch.randn(2, network.frames, 3, 32, 32, dtype=torch.float64)
    found, calls = fused(fast, clips)
    torch.testing.assert_close(found, network(clips).detach(), rtol=1e-5, atol=1e-5)
    assert calls


def test_every_kind_of_layer_is_fused():
    """A block with a shortcut, a first layer with pooling, and depthwise layers need one operator each."""
    torch.manual_seed(0)
    w = {c: torch.randn(8, c, 1, 1) for c in (3, 4, 8)}
    stem, depth = torch.randn(8, 3, 7, 7), torch.randn(8, 1, 3, 3, 3)

    def block(x, z):
        return F.relu(F.conv2d(x, w[4]) + F.conv2d(z, w[8], torch.ones(8), 2))

    assert fused(block, torch.randn(1, 4, 3, 3), torch.randn(1, 8, 5, 6))[1] == {"conv_pair_relu": 1}

    def first(x):
        return F.max_pool2d(F.relu(F.conv2d(x, stem, None, 2, 3)), 3, 2, 1)

    x = torch.randn(2, 3, 12, 9)
    y, calls = fused(first, x)
    assert calls == {"stem_conv": 1}
    torch.testing.assert_close(y, first(x), rtol=1e-4, atol=1e-4)
    assert fused(lambda x: F.relu(F.conv3d(x, depth, None, 1, 1, groups=8)), torch.randn(1, 8, 4, 5, 5))[
        1
    ] == {"depthwise_conv": 1}


@pytest.mark.parametrize(
    "change",
    [
        lambda x, w: F.relu(y := F.conv2d(x, w)) + y,  # the convolution's output is used twice
        lambda x, w: F.relu(F.conv2d(x, w) + x[:, :1]),  # the residual is broadcast
        lambda x, w: F.relu(F.conv2d(x, w) + 1),
        lambda x, w: F.gelu(F.conv2d(x, w)),
        lambda x, w: F.max_pool2d(F.conv2d(x, w), 3, 2, 1),
        lambda x, w: F.conv2d(x, w, padding="same").relu().add_(1).relu_(),
    ],
)
def test_other_graphs_stay_right(change):
    torch.manual_seed(0)
    x, w = torch.randn(2, 4, 6, 5), torch.randn(4, 4, 1, 1)
    torch.testing.assert_close(fused(change, x, w)[0], change(x, w))


def test_inputs_changed_in_place_later_and_doubled_outputs_stay_right():
    w = torch.randn(4, 4, 1, 1)

    def change(x):
        z = x * 2
        y = F.conv2d(z, w)
        z.relu_()
        twice = F.conv2d(x, w)
        return F.relu(y) + z + F.relu(twice + twice)

    x = torch.randn(1, 4, 3, 3)
    torch.testing.assert_close(fused(change, x)[0], change(x))


def test_addition_in_place_keeps_the_residual_of_others():
    w = torch.randn(4, 4, 1, 1)

    def change(x):
        z = x * 2
        y = z
        y += F.conv2d(x, w)
        return F.relu(y) + z

    x = torch.randn(1, 4, 3, 3)
    torch.testing.assert_close(fused(change, x)[0], change(x))


@pytest.mark.parametrize("pool", [(3, 2, 0), (2, 2, 1), (3, 1, 1)])
def test_other_poolings_are_not_merged(pool):
    w = torch.randn(8, 3, 3, 3)

    def change(x):
        return F.max_pool2d(F.relu(F.conv2d(x, w, None, 2, 1)), *pool)

    x = torch.randn(1, 3, 12, 12)
    torch.testing.assert_close(fused(change, x)[0], change(x), rtol=1e-4, atol=1e-4)

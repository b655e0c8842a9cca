"""First convolutions that pack their pixels have the outputs and gradients of the plain convolutions."""

import pytest
import torch
from torch import nn

from tanet.models.factory import build
from tanet.models.fusion import packed_stem
from tanet.models.fusion.fold_batch_norm import fold_batch_norms
from tanet.models.fusion.packed_stem import pack_stems
from tanet.recipes.recipe import Network2D
from tests.support.narrow_networks import NARROW


@pytest.fixture
def packing(monkeypatch):
    """Pack on a CPU too, in the precision of the pictures."""
    monkeypatch.setattr(packed_stem, "_packs", lambda x: True)
    monkeypatch.setattr(packed_stem, "_half", lambda x: x)


@pytest.mark.parametrize(
    ("conv", "size"),
    [
        (nn.Conv2d(3, 8, 7, 2, 3, bias=False), (16, 15)),
        (nn.Conv2d(2, 5, 3, 2, 1), (9, 8)),
        (nn.Conv3d(3, 6, (5, 7, 7), (2, 2, 2), (2, 3, 3)), (5, 8, 9)),
        (nn.Conv3d(3, 6, (1, 5, 5), (1, 2, 2), (0, 2, 2)), (3, 8, 9)),
    ],
    ids=str,
)
def test_packed_convolutions_have_same_outputs_and_gradients(conv, size, packing):
    torch.manual_seed(0)
    conv = conv.double()
    x = torch.randn(2, conv.in_channels, *size, dtype=torch.float64, requires_grad=True)
    given = (x, *conv.parameters())
    expected = conv(x)
    weights = torch.randn_like(expected)
    gradients = torch.autograd.grad((expected * weights).sum(), given)
    names = [name for name, _ in conv.named_parameters()]
    assert pack_stems(conv) == 1
    found = conv(x)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad((found * weights).sum(), given), gradients)
    assert [name for name, _ in conv.named_parameters()] == names


@pytest.mark.parametrize(
    "model",
    [Network2D(backbone="resnet18_w16", temporal="tam", frames=2), NARROW["slowfast"], NARROW["x3d"]],
    ids=str,
)
def test_networks_keep_their_logits_and_keys(model, packing):
    torch.manual_seed(0)
    network = build(model, classes=3).double()
    nn.init.normal_(network.head.weight)
    clips = torch.randn(2, network.frames, 3, 32, 32, dtype=torch.float64)
    keys, expected = list(network.state_dict()), network.eval()(clips)
    assert pack_stems(network)
    torch.testing.assert_close(network(clips), expected)
    assert list(network.state_dict()) == keys


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(3, 8, 7, 1, 3),
        nn.Conv2d(3, 8, 7, 2, 2),
        nn.Conv2d(64, 8, 3, 2, 1),
        nn.Conv2d(3, 8, 7, 2, 3, padding_mode="reflect"),
        nn.Conv2d(3, 8, 3, 2, 2, dilation=2),
        nn.Conv2d(3, 8, 7, padding="same"),
        nn.Conv1d(3, 8, 3, 2, 1),
    ],
    ids=str,
)
def test_other_convolutions_stay(conv):
    kind = type(conv)
    assert pack_stems(conv) == 0
    assert type(conv) is kind


def test_uncompiled_networks_do_not_pack():
    conv = nn.Conv2d(3, 8, 7, 2, 3)
    pack_stems(conv)
    x = torch.randn(1, 3, 8, 8)
    assert torch.equal(conv(x), nn.functional.conv2d(x, conv.weight, conv.bias, 2, 3))


def test_compiled_code_packs_under_autocast(monkeypatch):
    seen = []

    def look(module, _):
        seen.append(any("pad" in str(node.target) for node in module.graph.nodes))
        return module

    conv = nn.Conv2d(3, 8, 7, 2, 3)
    assert pack_stems(conv) == 1
    monkeypatch.setattr(packed_stem, "_packs", lambda x: torch.is_autocast_enabled("cpu"))
    monkeypatch.setattr(packed_stem, "_half", lambda x: x.to(torch.get_autocast_dtype("cpu")))
    torch.compiler.reset()
    run = torch.compile(conv, fullgraph=True, backend=look)
    x = torch.randn(1, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        packed = run(x)
    assert packed.dtype == torch.bfloat16
    torch.testing.assert_close(packed.float(), run(x), rtol=0.1, atol=0.05)
    assert seen == [True, False]


def test_packed_convolutions_take_a_batch_norm():
    network = nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3), nn.BatchNorm2d(8)).eval()
    x = torch.randn(1, 3, 8, 8)
    expected = network(x)
    assert pack_stems(network) == fold_batch_norms(network) == 1
    torch.testing.assert_close(network(x), expected)

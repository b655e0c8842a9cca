"""S3D, R(2+1)D, CSN and ARTNet: their layers against formulas written out here."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tanet.errors import UserError
from tanet.models.factory import build
from tanet.models.meta import on_meta
from tanet.models.video_backbones.artnet import ARTBlock, Smart
from tanet.models.video_backbones.inception3d import MIXED
from tanet.models.video_backbones.s3d import CellStem, Gate, S3DNetwork
from tanet.models.video_backbones.units3d import FactoredConv3d
from tanet.models.video_backbones.video_resnet import middle_channels
from tanet.profiling.flops import count_cost
from tanet.recipes.input_spec import CAFFE
from tanet.recipes.networks3d_factored import CSN, S3D, ARTNet, VideoResNet
from tests.support.narrow_networks import NARROW, ONE_EACH, randomize_norms


def clip_like(*shape):
    return torch.randn(shape, dtype=torch.float64)


def empty(model):
    with on_meta():
        return build(model, classes=3)


@pytest.mark.parametrize("bias", [False, True])
def test_gate_weights_channels_by_their_means(bias):
    gate, x = Gate(4, bias=bias).double(), clip_like(2, 4, 3, 5, 6)
    found = gate(x)
    for clip, channel in product(range(2), range(4)):
        means = torch.stack([x[clip, other].mean() for other in range(4)])
        total = (gate.fc.weight[channel] * means).sum() + (gate.fc.bias[channel] if bias else 0)
        torch.testing.assert_close(found[clip, channel], x[clip, channel] / (1 + torch.exp(-total)))


def test_gates_are_at_the_37_places_of_the_authors_code():
    gated = {
        name.removesuffix(".gate"): module.fc.in_features
        for name, module in empty(S3D(gates="plain")).named_modules()
        if isinstance(module, Gate)
    }
    expected = {"Conv3d_2c_3x3": 192}
    for name, _, (b0, _, b1, _, b2, b3) in MIXED:
        expected |= {f"{name}.b0": b0, f"{name}.b1b": b1, f"{name}.b2b": b2, f"{name}.b3b": b3}
    assert gated == expected
    assert len(gated) == 37


def test_gate_comes_after_relu():
    network = randomize_norms(build(S3D(gates="plain"), classes=2))
    unit = network.get_submodule("Mixed_3b.b0")
    x = clip_like(1, 192, 2, 3, 3)
    conv, norm = unit.layers.conv, unit.layers.norm
    torch.testing.assert_close(unit(x), unit.gate(F.relu(norm(F.conv3d(x, conv.weight)))))


def test_cells_hold_their_pixels_in_the_published_order():
    stem = randomize_norms(CellStem())
    clips = clip_like(2, 3, 4, 6, 8)
    cells = clip_like(2, 24, 2, 3, 4)
    for t, y, x, dt, dy, dx, colour in product(*map(range, (2, 3, 4, 2, 2, 2, 3))):
        channel = ((dt * 2 + dy) * 2 + dx) * 3 + colour
        cells[:, channel, t, y, x] = clips[:, colour, 2 * t + dt, 2 * y + dy, 2 * x + dx]
    padded = F.pad(cells, (2, 2, 2, 2, 1, 1))
    expected = stem.norm(F.conv3d(padded, stem.conv.weight))[:, :, 1:, 1:, 1:]
    assert expected.shape == (2, 64, 2, 3, 4)
    torch.testing.assert_close(stem(clips), expected)
    network = build(NARROW["s3d-g"], classes=2)
    with pytest.raises(ValueError, match="even numbers of frames and pixels, not clips of 7 × 32 × 32"):
        network(torch.zeros(1, 7, 3, 32, 32))
    with pytest.raises(
        UserError, match=r"^frames of 33 × 33 pixels do not fit this network: model\.stem cells"
    ):
        count_cost(network, size=33)


@pytest.mark.parametrize(("padding", "sizes"), [("both", (5, 3, 3)), ("end", (5, 3, 3))])
def test_pools_pad_both_sides_or_the_end(padding, sizes):
    network = empty(S3D(pool_padding=padding))
    assert isinstance(network, S3DNetwork)
    line = torch.tensor([3.0, 1.0, 2.0, 0.5, 4.0])[:, None, None].expand(*sizes)[None, None]
    found = network.pool(line, kernel=(3, 3, 3), stride=(2, 2, 2))[0, 0, :, 0, 0].tolist()
    # Windows start at -1, 1, 3 or at 0, 2, 4.
    assert found == ([3.0, 2.0, 4.0] if padding == "both" else [3.0, 4.0, 4.0])
    pairs = network.pool(line, kernel=(2, 2, 2), stride=(2, 2, 2))[0, 0, :, 0, 0].tolist()
    assert pairs == ([3.0, 2.0] if padding == "both" else [3.0, 2.0, 4.0])


@pytest.mark.parametrize(("window", "size"), [("2x7x7", (2, 7, 7)), ("2", (2, 8, 9)), ("all", (4, 8, 9))])
def test_logits_of_s3d_average_windows(window, size):
    network, maps = empty(S3D(head_window=window)), clip_like(1, 2, 4, 8, 9)
    found = network.average_map(maps)[0]
    starts = product(*(range(whole - part + 1) for whole, part in zip((4, 8, 9), size, strict=True)))
    expected = [
        maps[0, :, t : t + size[0], y : y + size[1], x : x + size[2]].mean((1, 2, 3)) for t, y, x in starts
    ]
    torch.testing.assert_close(found, torch.stack(expected))


def middles(model):
    """Return the channels between space and time of all units, by name."""
    modules = empty(model).named_modules()
    return {name: unit.space.out_channels for name, unit in modules if isinstance(unit, FactoredConv3d)}


def test_channels_between_space_and_time_are_those_of_each_codebase():
    known = {(64, 64): 144, (64, 128): 230, (128, 128): 288, (128, 256): 460, (256, 256): 576}
    known |= {(256, 512): 921, (512, 512): 1152}
    assert {pair: middle_channels(*pair) for pair in known} == known
    styles = ("vmz", "torchvision", "mmaction2")
    vmz, torchvision, mmaction2 = (middles(VideoResNet(blocks=ONE_EACH, style=style)) for style in styles)
    assert (vmz["stem"], torchvision["stem"], mmaction2["stem"]) == (45, 45, 83)
    assert [vmz[f"res3.0.unit{n}"] for n in (1, 2)] == [230, 288]
    assert [torchvision[f"res3.0.unit{n}"] for n in (1, 2)] == [230, 230]
    assert [mmaction2[name] for name in ("res3.0.unit1", "res3.0.unit2", "res3.0.shortcut")] == [230, 288, 54]
    assert "res3.0.shortcut" not in vmz


def test_only_mmaction2_has_another_eps_between_space_and_time():
    for style in ("vmz", "mmaction2"):
        network = empty(VideoResNet(blocks=ONE_EACH, style=style))
        eps = {name.rpartition(".")[2]: m.eps for name, m in network.named_modules() if hasattr(m, "eps")}
        assert eps == {"norm": 1e-3, "norm_space": 1e-5 if style == "mmaction2" else 1e-3}
    with pytest.raises(UserError, match=r"^model\.style mmaction2 needs model\.convolutions 2\+1d$"):
        VideoResNet(style="mmaction2", convolutions="3d")


@pytest.mark.parametrize(
    ("model", "sizes"),
    [
        (VideoResNet(frames=8, blocks=ONE_EACH), [(8, 16), (4, 8), (2, 4), (1, 2)]),
        (VideoResNet(frames=8, blocks=ONE_EACH, style="mmaction2"), [(8, 8), (4, 4), (2, 2), (1, 1)]),
        (VideoResNet(frames=8, blocks=ONE_EACH, convolutions="mixed"), [(8, 16), (8, 8), (8, 4), (8, 2)]),
        (CSN(frames=8, blocks=ONE_EACH), [(8, 8), (4, 4), (2, 2), (1, 1)]),
        (ARTNet(frames=8), [(4, 16), (2, 8), (1, 4), (1, 2)]),
    ],
)
def test_stages_have_published_strides(model, sizes):
    network, found = empty(model).eval(), []
    for stage in ("res2", "res3", "res4", "res5"):
        network.get_submodule(stage).register_forward_hook(lambda _, __, y: found.append(tuple(y.shape[2:4])))
    network(torch.empty(1, 8, 3, 32, 32, device="meta"))
    assert found == sizes


def test_channels_interact_only_in_pointwise_convolutions_of_csn():
    for model, pointwise in ((CSN(blocks=ONE_EACH), 3), (CSN(blocks=ONE_EACH, interaction="reduced"), 2)):
        block = empty(model).get_submodule("res3.0")
        block.shortcut = None
        convs = [module for module in block.modules() if isinstance(module, nn.Conv3d)]
        depthwise = [conv for conv in convs if conv.groups > 1]
        assert [conv.kernel_size for conv in depthwise] == [(3, 3, 3)]
        assert depthwise[0].groups == depthwise[0].in_channels
        assert sum(conv.kernel_size == (1, 1, 1) for conv in convs) == pointwise


def test_smart_unit_matches_its_formula():
    unit, x = randomize_norms(Smart(3, 6, side=7, stride=2, bias=True)), clip_like(2, 3, 4, 9, 9)
    conv = unit.appearance
    a = F.conv3d(x[:, :, ::2], conv.weight, conv.bias, (1, 2, 2), (0, 3, 3))
    r = unit.norm_relation(F.conv3d(x, unit.relation.weight, unit.relation.bias, 2, (1, 3, 3)))
    pooled = torch.stack([(r[:, 2 * i] ** 2 + r[:, 2 * i + 1] ** 2) / 2 for i in range(3)], 1)
    both = torch.cat((unit.norm_appearance(a), unit.norm_pooled(pooled)), 1).clamp(min=0)
    weight = unit.reduce.weight[:, :, 0, 0, 0]
    expected = torch.einsum("oc,bcthw->bothw", weight, both) + unit.reduce.bias[:, None, None, None]
    torch.testing.assert_close(unit(x), expected)


def test_block_of_artnet_adds_its_input_or_a_convolution_of_activations():
    x = clip_like(1, 4, 4, 6, 6)
    plain = randomize_norms(ARTBlock(4, 4, stride=1, smart=True, bias=False))
    active = F.relu(plain.norm_in(x))
    y = plain.conv2(F.relu(plain.norm1(F.conv3d(active, plain.conv1.weight, padding=1))))
    torch.testing.assert_close(plain(x), x + y)
    strided = randomize_norms(ARTBlock(4, 6, stride=2, smart=False, bias=True))
    active = F.relu(strided.norm_in(x))
    y = strided.conv2(F.relu(strided.norm1(strided.conv1(active))))
    shortcut = F.conv3d(active, strided.shortcut.weight, strided.shortcut.bias, stride=2, padding=1)
    torch.testing.assert_close(strided(x), shortcut + y)


def test_artnet_has_seven_smart_units_and_biases_from_res3_on():
    network = empty(ARTNet())
    smart = [name for name, module in network.named_modules() if isinstance(module, Smart)]
    assert smart == ["stem", *(f"res{stage}.{block}.conv2" for stage in (2, 3, 4) for block in (0, 1))]
    for name, conv in network.named_modules():
        if isinstance(conv, nn.Conv3d):
            assert (conv.bias is not None) == name.startswith(("res3", "res4", "res5")), name
    assert (network.input_spec.channels, network.input_spec.mean) == ("bgr", CAFFE.mean)
    with pytest.raises(UserError, match=r"^model\.width must be even, not 7$"):
        replace(ARTNet(), width=7)

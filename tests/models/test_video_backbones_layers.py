"""Layers of the 3D networks against loops and values worked out by hand."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from tanet.models.factory import build
from tanet.models.temporal import TAM
from tanet.models.video_backbones import inception_i3d
from tanet.models.video_backbones.clip_network import pool_windows
from tanet.models.video_backbones.inception3d import Mixed
from tanet.models.video_backbones.inception_i3d import Unit3d, max_pool, pad_same
from tanet.models.video_backbones.non_local3d import NonLocal3d
from tanet.models.video_backbones.resnet3d import pool_stem
from tanet.models.video_backbones.slowfast import Lateral, slow_indices
from tanet.models.video_backbones.tam3d import TAM3d, frames_of
from tanet.recipes.networks3d import SlowFast
from tests.support.narrow_networks import NARROW, randomize_norms

# Sizes, kernels and strides, each T × H × W → padding before and after T, H, W, in TensorFlow.
SAME = [
    ((16, 224, 224), (7, 7, 7), (2, 2, 2), ((2, 3), (2, 3), (2, 3))),
    ((17, 225, 224), (7, 7, 7), (2, 2, 2), ((3, 3), (3, 3), (2, 3))),
    ((9, 112, 113), (1, 3, 3), (1, 2, 2), ((0, 0), (0, 1), (1, 1))),
    ((9, 28, 29), (3, 3, 3), (2, 2, 2), ((1, 1), (0, 1), (1, 1))),
    ((5, 14, 15), (2, 2, 2), (2, 2, 2), ((0, 1), (0, 0), (0, 1))),
    ((3, 7, 1), (3, 3, 3), (1, 1, 1), ((1, 1), (1, 1), (1, 1))),
]


@pytest.mark.parametrize(("sizes", "kernel", "stride", "padding"), SAME)
def test_same_padding_matches_values_worked_out_by_hand(sizes, kernel, stride, padding):
    padded = pad_same(torch.ones(1, 1, *sizes), kernel=kernel, stride=stride)[0, 0]
    for dimension, (size, (before, after)) in enumerate(zip(sizes, padding, strict=True)):
        others = tuple(d for d in range(3) if d != dimension)
        line = padded.amax(others).tolist()
        assert line == [0] * before + [1] * size + [0] * after
    outputs = F.max_pool3d(padded[None, None], kernel, stride).shape[2:]
    assert list(outputs) == [math.ceil(size / step) for size, step in zip(sizes, stride, strict=True)]


@pytest.mark.parametrize(("sizes", "kernel", "stride", "padding"), SAME)
def test_pooling_with_zeros_equals_pooling_with_minus_infinity(sizes, kernel, stride, padding):
    x = torch.rand(1, 1, *sizes)
    (t0, t1), (h0, h1), (w0, w1) = padding
    expected = F.max_pool3d(F.pad(x, (w0, w1, h0, h1, t0, t1), value=-torch.inf), kernel, stride)
    assert torch.equal(max_pool(x, kernel=kernel, stride=stride), expected)


@pytest.mark.parametrize("size", [16, 17])
def test_stem_of_i3d_sees_pixels_that_tensorflow_would_see(size):
    stem = randomize_norms(Unit3d(3, outputs=2, kernel=7, stride=2))
    x = torch.randn(1, 3, 17, size, size, dtype=torch.float64)
    side = (2, 3) if size == 16 else (3, 3)
    padded = F.pad(x, (*side, *side, 3, 3))
    expected = F.relu(stem.norm(F.conv3d(padded, stem.conv.weight, stride=2)))
    torch.testing.assert_close(stem(x), expected)
    assert stem(x).shape == (1, 2, 9, math.ceil(size / 2), math.ceil(size / 2))


def test_branches_of_inception_block_are_concatenated_in_order():
    block = randomize_norms(Mixed(3, (1, 2, 3, 4, 5, 6), make=inception_i3d._unit))
    x = torch.rand(1, 3, 3, 4, 4, dtype=torch.float64)
    pooled = F.max_pool3d(x, 3, stride=1, padding=1)
    parts = block(x).split((1, 3, 5, 6), 1)
    expected = (block.b0(x), block.b1b(block.b1a(x)), block.b2b(block.b2a(x)), block.b3b(pooled))
    assert all(torch.equal(part, other) for part, other in zip(parts, expected, strict=True))


def test_kinds_of_pooling_after_stem():
    x = torch.arange(4.0).view(1, 1, 4, 1, 1).expand(1, 1, 4, 7, 7)  # each frame has its number
    space, skip, unpadded = (pool_stem(x, kind)[0, 0] for kind in ("space", "skip", "unpadded"))
    assert (space.shape, space[:, 0, 0].tolist()) == ((4, 4, 4), [0, 1, 2, 3])
    assert (skip.shape, skip[:, 0, 0].tolist()) == ((2, 4, 4), [0, 2])
    assert (unpadded.shape, unpadded[:, 0, 0].tolist()) == ((2, 3, 3), [1, 3])


@pytest.mark.parametrize(
    ("frames", "ratio", "kind", "expected"),
    [
        (32, 8, "linspace", [0, 10, 20, 31]),
        (32, 8, "stride", [0, 8, 16, 24]),
        (32, 4, "linspace", [0, 4, 8, 13, 17, 22, 26, 31]),
        (32, 4, "stride", [0, 4, 8, 12, 16, 20, 24, 28]),
        (8, 8, "linspace", [0]),
    ],
)
def test_slow_pathway_sees_published_frames(frames, ratio, kind, expected):
    model = SlowFast(frames=frames, speed_ratio=ratio, slow_frames=kind)
    assert slow_indices(model).tolist() == expected


def test_pathways_get_their_frames():
    network = build(NARROW["slowfast"], classes=2).eval()
    seen = {}
    for name in ("slow", "fast"):
        stem = getattr(network, name).stem
        stem.register_forward_pre_hook(lambda _, inputs, name=name: seen.update({name: inputs[0]}))
    clips = torch.arange(8.0).view(1, 8, 1, 1, 1).expand(1, 8, 3, 32, 32)
    network(clips)
    assert seen["slow"][0, :, :, 0, 0].tolist() == [[0.0, 7.0]] * 3
    assert seen["fast"][0, :, :, 0, 0].tolist() == [[float(t) for t in range(8)]] * 3


@pytest.mark.parametrize("has_norm", [True, False])
def test_lateral_connection_is_strided_convolution_over_time(has_norm):
    lateral = randomize_norms(Lateral(3, taps=5, ratio=4, has_norm=has_norm))
    x = torch.randn(2, 3, 8, 2, 2, dtype=torch.float64)
    weight, padded = lateral.conv.weight[..., 0, 0], F.pad(x, (0, 0, 0, 0, 2, 2))
    frames = [torch.einsum("ock,bckhw->bohw", weight, padded[:, :, t : t + 5]) for t in (0, 4)]
    expected = torch.stack(frames, 2)  # [2, 6, 2, 2, 2]
    if has_norm:
        expected = F.relu(lateral.norm(expected))
    torch.testing.assert_close(lateral(x), expected)


def test_slow_channels_come_before_those_of_lateral_connection():
    network = build(NARROW["slowfast"], classes=2).double().eval()
    stage = network.slow.res2
    stage.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    seen = []
    clips = torch.randn(1, 8, 3, 32, 32, dtype=torch.float64)
    network(clips)
    slow = pool_stem(network.slow.stem(clips[:, [0, 7]].transpose(1, 2)))
    fast = network.laterals[0](pool_stem(network.fast.stem(clips.transpose(1, 2))))
    torch.testing.assert_close(seen[0], torch.cat((slow, fast), 1))


def pooled_places(maps):
    """Return the maximum of each 2 × 2 cell: [C, T, H, W] → list of [C]. A side of 1 is kept."""
    _, frames, height, width = maps.shape
    h, w = min(2, height), min(2, width)
    return [
        maps[:, t, row : row + h, column : column + w].amax((1, 2))
        for t, row, column in itertools.product(
            range(frames), range(0, height - h + 1, h), range(0, width - w + 1, w)
        )
    ]


def loop_over_pairs(block, maps, *, attention, style):
    """Compute a non-local block for one clip [C, T, H, W], one pair of places at a time."""

    def convolve(conv, x):  # [C, T, H, W] → [d, T, H, W]
        bias = 0 if conv.bias is None else conv.bias.view(-1, 1, 1, 1)
        return torch.einsum("oc,cthw->othw", conv.weight[:, :, 0, 0, 0], x) + bias

    def at(conv, place):  # [C] → [d]
        return convolve(conv, place.view(-1, 1, 1, 1)).flatten()

    if style == "wang":
        keys, values = ([at(conv, p) for p in pooled_places(maps)] for conv in (block.phi, block.g))
    else:
        keys, values = (pooled_places(convolve(conv, maps)) for conv in (block.phi, block.g))
    found = torch.empty(len(values[0]), *maps.shape[1:], dtype=maps.dtype)
    for t, row, column in itertools.product(*(range(side) for side in maps.shape[1:])):
        query = at(block.theta, maps[:, t, row, column])
        products = torch.stack([query @ key for key in keys])
        if attention == "dot":
            weights = products / len(keys)
        else:
            weights = (products / (math.sqrt(len(query)) if style == "wang" else 1)).softmax(0)
        found[:, t, row, column] = sum(w * v for w, v in zip(weights, values, strict=True))
    return maps + block.norm(convolve(block.out, found)[None])[0]


@pytest.mark.parametrize("sides", [(4, 4), (3, 5), (1, 4), (1, 1)])
@pytest.mark.parametrize("style", ["wang", "mmaction2"])
@pytest.mark.parametrize("attention", ["softmax", "dot"])
def test_non_local_block_matches_loop_over_pairs(attention, style, sides):
    torch.manual_seed(0)
    block = randomize_norms(NonLocal3d(4, attention=attention, style=style))
    x = torch.randn(2, 4, 3, *sides, dtype=torch.float64)
    with torch.no_grad():
        expected = torch.stack([loop_over_pairs(block, one, attention=attention, style=style) for one in x])
        torch.testing.assert_close(block(x), expected)
    pairs = (3 * sides[0] * sides[1]) * len(pooled_places(x[0]))
    assert block.attention_products(x.shape) == 2 * 2 * pairs * 2  # two clips, two products, d = 2


def test_non_local_block_starts_as_identity():
    x = torch.randn(1, 4, 2, 4, 4)
    assert torch.equal(NonLocal3d(4, attention="softmax", style="wang")(x), x)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_tam_of_3d_network_equals_tam_of_frames(layout):
    torch.manual_seed(0)
    tam = randomize_norms(TAM(8, frames=4))
    tam3d = TAM3d(8, frames=4).double().eval()
    tam3d.load_state_dict(tam.state_dict())
    x = torch.randn(2, 8, 4, 5, 6, dtype=torch.float64)
    frames = torch.stack([x[clip, :, t] for clip in range(2) for t in range(4)])
    with torch.no_grad():
        images = tam(frames)  # [8, 8, 5, 6]
        found = tam3d(x.contiguous(memory_format=layout))
    for clip, t in itertools.product(range(2), range(4)):
        torch.testing.assert_close(found[clip, :, t], images[4 * clip + t])


def test_maps_in_channels_last_are_frames_without_copy():
    x = torch.randn(2, 8, 4, 5, 6).contiguous(memory_format=torch.channels_last_3d)
    frames = frames_of(x)
    assert frames.data_ptr() == x.data_ptr()
    assert frames.is_contiguous(memory_format=torch.channels_last)
    assert TAM3d(8, frames=4)(x).is_contiguous(memory_format=torch.channels_last_3d)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_windows_are_averaged_in_every_precision(dtype):
    """A CPU's pool knows no 16-bit numbers. Wider ones keep the bits of PyTorch's pool."""
    maps = torch.rand(2, 3, 4, 9, 8, dtype=torch.float64).to(dtype)
    found = pool_windows(maps, (2, 7, 7))
    wide = F.avg_pool3d(maps if dtype.itemsize > 2 else maps.float(), (2, 7, 7), stride=1)
    assert found.dtype == dtype
    assert found.shape == (2, 3 * 3 * 2, 3)
    assert torch.equal(found, wide.to(dtype).flatten(2).mT)


@pytest.mark.parametrize("name", ["i3d-inception", "slowonly", "x3d"])
def test_half_precision_runs_on_cpu(name):
    network = build(NARROW[name], classes=2).eval()
    clips = torch.rand(1, NARROW[name].frames, 3, 256, 256)
    with torch.inference_mode():
        expected = network(clips)
        found = network.bfloat16()(clips.bfloat16())
    torch.testing.assert_close(found.float(), expected, atol=0.1, rtol=0.1)

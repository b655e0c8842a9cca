"""Convolutions for inference equal PyTorch's own, on a CPU, where they compute with PyTorch's operations."""

import pytest
import torch
from torch.nn import functional as F

from tanet.ops.convolution.op import conv_pair_relu, conv_relu
from tanet.ops.depthwise_convolution.op import depthwise_conv
from tanet.ops.stem_convolution import op as stem
from tanet.ops.stem_convolution import packing

STEMS = [(3, (1, 7, 7), 1), (3, (1, 3, 3), 1), (2, (1, 5, 5), 1), (3, (5, 7, 7), 1), (1, (3, 7, 7), 2)]


@pytest.mark.parametrize(("channels", "kernel", "step"), STEMS)
@pytest.mark.parametrize("size", [(8, 12), (9, 7)])
def test_packed_images_give_the_strided_convolution(channels, kernel, step, size):
    x = torch.randn(2, channels, 4, *size, dtype=torch.float64)
    weight, bias = torch.randn(6, channels, *kernel, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    padding = [side // 2 for side in kernel]
    assert packing.fits(weight, [step, 2, 2], padding, 1)
    expected = F.conv3d(x, weight, bias, (step, 2, 2), padding)
    found = stem.stem_conv(x, packing.pack_weight(weight), bias, kernel[1], step, False, False)
    torch.testing.assert_close(found, expected)
    found = stem.stem_conv(x, packing.pack_weight(weight), bias, kernel[1], step, True, True)
    pooled = F.max_pool3d(expected.relu(), (1, 3, 3), (1, 2, 2), (0, 1, 1))
    torch.testing.assert_close(found, pooled)


def test_operators_agree_with_their_fake_versions():
    x = torch.randn(2, 4, 6, 5, 7).contiguous(memory_format=torch.channels_last_3d)
    weight, bias = torch.randn(4, 1, 3, 3, 3), torch.randn(4)
    dense = torch.randn(8, 4, 3, 3, 3).contiguous(memory_format=torch.channels_last_3d)
    maps = torch.randn(2, 8, 6, 5, 7).contiguous(memory_format=torch.channels_last_3d)
    stem_weight = packing.pack_weight(torch.randn(5, 3, 7, 7))
    for operator, arguments in (
        (depthwise_conv, (x, weight, bias, [1, 2, 2], True)),
        (depthwise_conv, (x, weight, None, [2, 1, 1], False)),
        (
            conv_pair_relu,
            (
                maps,
                dense[:, :, :1, :1, :1][:, :1].repeat(1, 8, 1, 1, 1),
                maps,
                torch.randn(8, 8, 1, 1, 1),
                None,
                [1, 1, 1],
            ),
        ),
        (conv_relu, (x, dense, None, maps, [1, 1, 1], [1, 1, 1], [1, 1, 1], 1)),
        (stem.stem_conv, (torch.randn(2, 3, 4, 9, 8), stem_weight, None, 7, 1, True, False)),
        (stem.stem_conv, (torch.randn(2, 3, 4, 9, 8), stem_weight, None, 7, 1, False, True)),
    ):
        torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))


def test_depthwise_convolution_and_convolution_with_residual():
    x = torch.randn(2, 4, 6, 5, 7, dtype=torch.float64)
    weight, bias = torch.randn(4, 1, 3, 1, 5, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    expected = F.conv3d(x, weight, bias, (2, 1, 2), (1, 0, 2), groups=4)
    torch.testing.assert_close(depthwise_conv(x, weight, bias, [2, 1, 2], True), expected.relu())
    maps = x.flatten(1, 2)
    dense, more = torch.randn(3, 24, 1, 1, dtype=torch.float64), torch.randn(2, 3, 5, 7, dtype=torch.float64)
    found = conv_relu(maps, dense, None, more, [1, 1], [0, 0], [1, 1], 1)
    torch.testing.assert_close(found, (F.conv2d(maps, dense) + more).relu())


def test_pair_of_convolutions_reads_the_shortcut_with_its_stride():
    x, z = torch.randn(2, 5, 4, 3, dtype=torch.float64), torch.randn(2, 6, 7, 6, dtype=torch.float64)
    w, u = torch.randn(8, 5, 1, 1, dtype=torch.float64), torch.randn(8, 6, 1, 1, dtype=torch.float64)
    bias = torch.randn(8, dtype=torch.float64)
    expected = (F.conv2d(x, w, bias) + F.conv2d(z, u, None, 2)).relu()
    torch.testing.assert_close(conv_pair_relu(x, w, z, u, bias, [2, 2]), expected)

"""The Triton kernels for convolutions are as exact as PyTorch's convolutions in the same data type."""

import pytest
import torch
from torch.nn import functional as F

from tests.support.kernels import DEVICE, INTERPRETED, PRECISIONS, assert_as_exact, need_triton, needs_gpu
from tests.support.kernels import nan_buffers as nan_buffers

need_triton()

from tanet.ops.common import fastest  # noqa: E402
from tanet.ops.convolution import op as convolution  # noqa: E402
from tanet.ops.convolution.triton_epilogue import add_relu_  # noqa: E402
from tanet.ops.convolution.triton_pointwise import pointwise_triton  # noqa: E402
from tanet.ops.depthwise_convolution.triton_kernel import depthwise_conv_triton  # noqa: E402
from tanet.ops.stem_convolution import packing  # noqa: E402
from tanet.ops.stem_convolution import triton_kernels as stem_kernels  # noqa: E402

STEMS = [  # channels, outputs, window, stride along time, frames, image
    (3, 64, (1, 7, 7), 1, 1, (12, 10)),
    (3, 24, (1, 7, 7), 1, 2, (19, 45)),
    (3, 24, (1, 3, 3), 1, 2, (9, 7)),
    (3, 8, (5, 7, 7), 2, 5, (8, 9)),
    (2, 45, (1, 5, 5), 1, 2, (7, 8)),
]
DEPTHWISE = [  # channels, window, stride, frames, map
    (24, (3, 3, 3), (1, 1, 1), 4, (5, 7)),
    (54, (3, 3, 3), (1, 2, 2), 3, (6, 5)),
    (17, (3, 3, 3), (2, 2, 2), 5, (5, 5)),
    (24, (5, 1, 1), (1, 1, 1), 6, (4, 3)),
]
if not INTERPRETED:
    STEMS += [(3, 64, (1, 7, 7), 1, 8, (224, 224)), (3, 64, (5, 7, 7), 1, 8, (112, 112))]
    DEPTHWISE += [(216, (3, 3, 3), (1, 1, 1), 16, (14, 14)), (64, (3, 3, 3), (1, 2, 2), 8, (56, 56))]


def compare(plain, fused, *tensors, dtype, name):
    """Check a kernel against PyTorch's operations; the tensors are rounded to `dtype` first."""
    rounded = [tensor.to(DEVICE, dtype) for tensor in tensors]

    def run(precision):
        return [plain(*(tensor.to(precision) for tensor in rounded))]

    with torch.backends.cudnn.flags(allow_tf32=False), torch.no_grad():
        assert_as_exact(run, lambda: [fused(*rounded)], dtype=dtype, names=[name])


@pytest.mark.usefixtures("nan_buffers")
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize(("channels", "outputs", "kernel", "step", "frames", "size"), STEMS)
@pytest.mark.parametrize("pool", [False, True])
def test_strided_convolution_of_images(
    channels, outputs, kernel, step, frames, size, pool, dtype, monkeypatch
):
    if dtype == torch.float32 or (pool and kernel[0] > 1):
        pytest.skip("`optimize` uses this kernel for 16-bit numbers only, and pools single frames")
    monkeypatch.setattr(stem_kernels, "COLUMNS", 16 if INTERPRETED else stem_kernels.COLUMNS)
    torch.manual_seed(0)
    x, bias = torch.randn(2, channels, frames, *size), torch.randn(outputs)
    weight = torch.randn(outputs, channels, *kernel)
    padding = [side // 2 for side in kernel]

    def plain(x, weight, bias):
        y = F.relu(F.conv3d(x, weight, bias, (step, 2, 2), padding))
        return F.max_pool3d(y, (1, 3, 3), (1, 2, 2), (0, 1, 1)) if pool else y

    def fused(x, weight, bias):
        options = {"size": kernel[1], "step": step, "relu": True, "pool": pool}
        return stem_kernels.stem_conv_triton(x, packing.pack_weight(weight), bias, **options)

    compare(plain, fused, x, weight, bias, dtype=dtype, name="y")


@pytest.mark.usefixtures("nan_buffers")
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize(("channels", "kernel", "stride", "frames", "size"), DEPTHWISE)
def test_depthwise_convolution(channels, kernel, stride, frames, size, dtype):
    torch.manual_seed(0)
    x, weight = torch.randn(2, channels, frames, *size), torch.randn(channels, 1, *kernel)
    padding = [side // 2 for side in kernel]

    def plain(x, weight, bias):
        return F.relu(F.conv3d(x, weight, bias, stride, padding, groups=channels))

    def fused(x, weight, bias):
        return depthwise_conv_triton(x, weight, bias, list(stride), relu=True)

    compare(plain, fused, x, weight, torch.randn(channels), dtype=dtype, name="y")


@pytest.mark.usefixtures("nan_buffers")
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize(
    ("sizes", "sizes_z", "stride"),
    [((5, 4), (5, 4), (1, 1)), ((4, 3), (7, 6), (2, 2)), ((3, 4, 3), (5, 7, 5), (2, 2, 2))],
)
def test_pair_of_convolutions(sizes, sizes_z, stride, resident, dtype):
    torch.manual_seed(0)
    ones = [1] * len(sizes)
    x, z = torch.randn(2, 40, *sizes), torch.randn(2, 70, *sizes_z)
    weight, weight_z = torch.randn(136, 40, *ones) / 6, torch.randn(136, 70, *ones) / 8

    def plain(x, weight, z, weight_z, bias):
        return convolution.pair_reference(x, weight, z, weight_z, bias, stride)

    def fused(*tensors):
        return pointwise_triton(*tensors, None, list(stride), resident=resident)

    if dtype == torch.float32:
        pytest.skip("`optimize` uses this kernel for 16-bit numbers only")
    compare(plain, fused, x, weight, z, weight_z, torch.randn(136), dtype=dtype, name="y")


@pytest.mark.usefixtures("nan_buffers")
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("channels", [40, 200])
def test_convolution_with_resident_weights_and_residual(channels, dtype):
    torch.manual_seed(0)
    x, weight = torch.randn(2, channels, 9, 17), torch.randn(136, channels, 1, 1) / channels**0.5

    def plain(x, weight, bias, residual):
        return F.relu(F.conv2d(x, weight, bias) + residual)

    def fused(x, weight, bias, residual):
        return pointwise_triton(x, weight, None, None, bias, residual, [1, 1], resident=True)

    if dtype == torch.float32:
        pytest.skip("`optimize` uses this kernel for 16-bit numbers only")
    others = torch.randn(136), torch.randn(2, 136, 9, 17)
    compare(plain, fused, x, weight, *others, dtype=dtype, name="y")


@pytest.mark.usefixtures("nan_buffers")
@pytest.mark.parametrize("dtype", PRECISIONS)
def test_bias_residual_and_relu(dtype):
    torch.manual_seed(0)
    y, residual, bias = torch.randn(2, 24, 5, 7), torch.randn(2, 24, 5, 7), torch.randn(24)

    def fused(y, residual, bias):
        y = y.clone(memory_format=torch.channels_last)
        return add_relu_(y, bias, residual)

    def plain(y, residual, bias):
        return F.relu(y + residual + bias[:, None, None])

    compare(plain, fused, y, residual, bias, dtype=dtype, name="y")


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("given", ["nothing", "bias", "bias and residual"])
def test_every_way_to_convolve_is_exact(size, given, dtype, monkeypatch):
    torch.manual_seed(0)
    x, weight = torch.randn(4, 64, 14, 14), torch.randn(128, 64, size, size) / 8
    bias, residual = torch.randn(128), torch.randn(4, 128, 14, 14)
    where = ([1, 1], [size // 2] * 2, [1, 1], 1)

    def others(bias, residual):
        return bias if "bias" in given else None, residual if "residual" in given else None

    def plain(x, weight, bias, residual):
        return convolution.reference(x, weight, *others(bias, residual), *where)

    def fused(x, weight, bias, residual):
        x, weight, residual = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight, residual))
        return convolution.conv_relu(x, weight, *others(bias, residual), *where)

    names = []
    number_of_ways = 2 if size == 3 else 4 if "residual" in given else 3
    for number in range(number_of_ways):
        monkeypatch.setattr(fastest, "_fastest", {})
        monkeypatch.setattr(
            fastest, "_measure", lambda ways, number=number: names.append(w := [*ways][number]) or w
        )
        compare(plain, fused, x, weight, bias, residual, dtype=dtype, name=given)
    assert len(set(names)) == number_of_ways

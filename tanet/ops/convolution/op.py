"""Convolution, bias, residual and ReLU as one operator.

    conv_relu         y = ReLU(W ∗ x + b [+ r])
    conv_pair_relu    y = ReLU(W ∗ x + W' ∗ z + b)    end of a residual block whose shortcut has a convolution

cuDNN can add the bias and the residual and apply the ReLU before it writes the output. PyTorch's compiler
leaves the convolution to cuDNN and computes the rest in a second kernel, which reads and writes the output
again. Which way is fastest depends on the shape, so the first call with each shape times all ways.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch.nn import functional as F

from tanet.ops.common.fastest import run_fastest
from tanet.ops.common.memory_format import channels_last


def reference(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    residual: torch.Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> torch.Tensor:
    """Compute `conv_relu` with PyTorch's own operations."""
    conv = F.conv2d if x.ndim == 4 else F.conv3d
    y = conv(x, weight, bias, stride, padding, dilation, groups)
    return F.relu(y if residual is None else y + residual)


@torch.library.custom_op("tanet::conv_relu", mutates_args=())
def conv_relu(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    residual: torch.Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> torch.Tensor:
    """Compute ReLU(W ∗ x + b + r), without gradients.

    Args:
        x: maps [N, C, H, W] or [N, C, T, H, W], in channels-last or channels-last-3d.
        weight: as in `F.conv2d` or `F.conv3d`, in the memory format of x.
        bias: one number per output channel, or None.
        residual: r, in the shape and the memory format of the output, or None.
        stride, padding, dilation, groups: as in `F.conv2d` or `F.conv3d`.
    """
    arguments = (x, weight, bias, residual, stride, padding, dilation, groups)
    if not x.is_cuda:
        return reference(*arguments).contiguous(memory_format=channels_last(x))
    shapes = (x.shape, x.stride(), weight.shape, bias is None, residual is None)
    key = ("conv_relu", x.device, x.dtype, *shapes, *stride, *padding, *dilation, groups)
    with torch.cuda.device(x.device):
        return run_fastest(key, _ways(*arguments))


@conv_relu.register_fake
def _(x, weight, bias, residual, stride, padding, dilation, groups):
    y = reference(x, weight, bias, residual, stride, padding, dilation, groups)
    return torch.empty_like(y, memory_format=channels_last(y))


def pair_reference(
    x: torch.Tensor,
    weight: torch.Tensor,
    z: torch.Tensor,
    weight_z: torch.Tensor,
    bias: torch.Tensor | None,
    stride: list[int],
) -> torch.Tensor:
    """Compute `conv_pair_relu` with PyTorch's own operations."""
    conv = F.conv2d if x.ndim == 4 else F.conv3d
    return F.relu(conv(x, weight, bias) + conv(z, weight_z, None, stride))


@torch.library.custom_op("tanet::conv_pair_relu", mutates_args=())
def conv_pair_relu(
    x: torch.Tensor,
    weight: torch.Tensor,
    z: torch.Tensor,
    weight_z: torch.Tensor,
    bias: torch.Tensor | None,
    stride: list[int],
) -> torch.Tensor:
    """Compute ReLU(W ∗ x + W' ∗ z + b) for two 1×1 convolutions, without gradients.

    Args:
        x: maps [N, C, H, W] or [N, C, T, H, W], in channels-last or channels-last-3d.
        weight: W, [O, C, 1, 1] or [O, C, 1, 1, 1].
        z: maps with C' channels; the stride reduces them to the size of x.
        weight_z: W', with C' input channels.
        bias: [O], or None.
        stride: stride of the convolution of z.
    """
    if not x.is_cuda:
        return pair_reference(x, weight, z, weight_z, bias, stride).contiguous(memory_format=channels_last(x))
    from tanet.ops.convolution.triton_pointwise import fits_resident, pointwise_triton

    ones, none = [1] * len(stride), [0] * len(stride)

    def with_two() -> torch.Tensor:
        conv = F.conv2d if x.ndim == 4 else F.conv3d
        residual = conv(z, weight_z, None, stride)
        return conv_relu(x, weight, bias, residual, ones, none, ones, 1)

    kernel = partial(pointwise_triton, x, weight, z, weight_z, bias, None, stride)
    ways = {"two convolutions": with_two, "products": partial(kernel, resident=False)}
    if fits_resident(x, z):
        ways["resident weights"] = partial(kernel, resident=True)
    shapes = (x.shape, z.shape, weight.shape[0], bias is None)
    with torch.cuda.device(x.device):
        return run_fastest(("conv_pair_relu", x.device, x.dtype, *shapes, *stride), ways)


@conv_pair_relu.register_fake
def _(x, weight, z, weight_z, bias, stride):
    y = pair_reference(x, weight, z, weight_z, bias, stride)
    return torch.empty_like(y, memory_format=channels_last(y))


def _ways(
    x, weight, bias, residual, stride, padding, dilation, groups
) -> dict[str, Callable[[], torch.Tensor]]:
    from tanet.ops.convolution.triton_epilogue import add_relu_
    from tanet.ops.convolution.triton_pointwise import fits_resident, pointwise_triton

    conv = F.conv2d if x.ndim == 4 else F.conv3d

    def with_kernel() -> torch.Tensor:
        y = conv(x, weight, None, stride, padding, dilation, groups).contiguous(
            memory_format=channels_last(x)
        )
        return add_relu_(y, bias, residual)

    def with_cudnn() -> torch.Tensor:
        where = (stride, padding, dilation, groups)
        if residual is None:
            return torch.cudnn_convolution_relu(x, weight, bias, *where)
        return torch.cudnn_convolution_add_relu(x, weight, residual, 1.0, bias, *where)

    def with_product() -> torch.Tensor:
        rows = x.movedim(1, -1).flatten(0, -2)
        y = torch.mm(rows, weight.flatten(1).t()).view(*x.movedim(1, -1).shape[:-1], -1).movedim(-1, 1)
        return add_relu_(y, bias, residual)

    ways = {"kernel": with_kernel, "cudnn": with_cudnn}
    pointwise = all(size == 1 for size in (*weight.shape[2:], *stride)) and not any(padding) and groups == 1
    if pointwise and x.is_contiguous(memory_format=channels_last(x)):
        ways["product"] = with_product
        if residual is not None and fits_resident(x, None):
            ways["resident weights"] = partial(
                pointwise_triton, x, weight, None, None, bias, residual, stride, resident=True
            )
    return ways

"""Depthwise 3D convolution, bias and ReLU as one operator: each channel is filtered by a kernel of its own.

A depthwise convolution does little arithmetic per number that it reads. PyTorch's and cuDNN's kernels take
ten to fifty times as long as reading and writing the maps.
"""

import torch
from torch.nn import functional as F


def fits(weight: torch.Tensor, padding: list[int], groups: int) -> bool:
    """Return whether `depthwise_conv` can compute this 3D convolution (dilation 1)."""
    kernel = weight.shape[2:]
    return (
        groups == weight.shape[0] > 1
        and weight.shape[1] == 1
        and max(kernel) <= 5
        and kernel.numel() <= 27
        and all(size % 2 == 1 and pad == size // 2 for size, pad in zip(kernel, padding, strict=True))
    )


def reference(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: list[int], relu: bool
) -> torch.Tensor:
    """Compute `depthwise_conv` with PyTorch's own operations."""
    padding = [size // 2 for size in weight.shape[2:]]
    y = F.conv3d(x, weight, bias, stride, padding, groups=weight.shape[0])
    return F.relu(y) if relu else y


@torch.library.custom_op("tanet::depthwise_conv", mutates_args=())
def depthwise_conv(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: list[int], relu: bool
) -> torch.Tensor:
    """Filter each channel, without gradients: [N, C, T, H, W] → [N, C, T', H', W'].

    Args:
        x: maps. If x is not in channels-last-3d, x is copied to that format.
        weight: [C, 1, KT, KH, KW], odd sizes; the maps are padded by half the size.
        bias: [C], or None.
        stride: along T, H and W.
        relu: whether to apply a ReLU.

    Returns:
        Maps in channels-last-3d.
    """
    if not x.is_cuda:
        y = reference(x, weight, bias, stride, relu)
        return y.contiguous(memory_format=torch.channels_last_3d)
    from tanet.ops.depthwise_convolution.triton_kernel import depthwise_conv_triton

    return depthwise_conv_triton(x, weight, bias, stride, relu=relu)


@depthwise_conv.register_fake
def _(x, weight, bias, stride, relu):
    sizes = (-(-size // step) for size, step in zip(x.shape[2:], stride, strict=True))
    shape = (*x.shape[:2], *sizes)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last_3d)

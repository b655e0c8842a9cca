"""Convolution with stride 2 over images with few channels, as the first layer of a network computes it.

cuDNN multiplies matrices whose inner size is the number of channels, padded to 8, so with three channels most
of its work is padding. Here, four neighbouring pixels become one pixel with four times as many channels
(space to depth). The 7×7 convolution with stride 2 becomes a 4×4 convolution with stride 1; each row of its
window is contiguous in memory:

    packed pixel [r, q]    16 numbers: 2 × 2 pixels from [2r - 4, 2q - 4] on, 3 channels each, and 4 zeros
    y[h, w] = Σ_a W_a · (packed pixels [h + a, w] … [h + a, w + 3])    4 products with 64 numbers each

The result is the same sum in another order.
"""

import torch
from torch.nn import functional as F

from tanet.ops.stem_convolution.packing import output_shape, pack_image, pack_weight


def convolve_packed(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *, step: int = 1
) -> torch.Tensor:
    """Convolve images with stride 2 as a convolution of packed pixels, with gradients.

    Args:
        x: images [N, C, H, W] or clips [N, C, T, H, W].
        weight: [O, C, K, K] or [O, C, KT, K, K]; see `fits`.
        bias: [O], or None.
        step: stride along time.
    """
    return _convolve(x, pack_weight(weight), bias, size=weight.shape[-1], step=step)


def _convolve(
    x: torch.Tensor, packed_weight: torch.Tensor, bias: torch.Tensor | None, *, size: int, step: int
) -> torch.Tensor:
    taps = size // 2 + 1
    weight = packed_weight.unflatten(0, (-1, taps)).unflatten(2, (taps, -1)).permute(4, 3, 0, 1, 2)
    if x.ndim == 4:
        return F.conv2d(pack_image(x, size).permute(0, 3, 1, 2), weight[:, :, 0], bias)
    packed = pack_image(x.transpose(1, 2).flatten(0, 1), size).unflatten(0, (x.shape[0], x.shape[2]))
    return F.conv3d(packed.permute(0, 4, 1, 2, 3), weight, bias, (step, 1, 1), (weight.shape[2] // 2, 0, 0))


def reference(
    x: torch.Tensor,
    packed_weight: torch.Tensor,
    bias: torch.Tensor | None,
    size: int,
    step: int,
    relu: bool,
    pool: bool,
) -> torch.Tensor:
    """Compute `stem_conv` with PyTorch's own operations."""
    y = _convolve(x, packed_weight, bias, size=size, step=step)
    y = F.relu(y) if relu else y
    return F.max_pool3d(y, (1, 3, 3), (1, 2, 2), (0, 1, 1)) if pool else y


@torch.library.custom_op("tanet::stem_conv", mutates_args=())
def stem_conv(
    x: torch.Tensor,
    packed_weight: torch.Tensor,
    bias: torch.Tensor | None,
    size: int,
    step: int,
    relu: bool,
    pool: bool,
) -> torch.Tensor:
    """Convolve images with stride 2, without gradients: [N, C, T, H, W] → [N, O, T', H', W'].

    Args:
        x: frames with at most 4 channels, in any memory format.
        packed_weight: as `pack_weight` returns it, in the dtype of x.
        bias: [O], or None.
        size: K, the side of the window; odd.
        step: stride along time.
        relu: whether to apply a ReLU.
        pool: whether to take the maximum over 3 × 3 pixels with stride 2 and padding 1 at the end.

    Returns:
        Maps in channels-last-3d.
    """
    if not x.is_cuda:
        y = reference(x, packed_weight, bias, size, step, relu, pool)
        return y.contiguous(memory_format=torch.channels_last_3d)
    from tanet.ops.stem_convolution.triton_kernels import stem_conv_triton

    if pool and (step > 1 or packed_weight.shape[0] > size // 2 + 1):  # the window has several frames
        y = stem_conv_triton(x, packed_weight, bias, size=size, step=step, relu=relu, pool=False)
        return F.max_pool3d(y, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    return stem_conv_triton(x, packed_weight, bias, size=size, step=step, relu=relu, pool=pool)


@stem_conv.register_fake
def _(x, packed_weight, bias, size, step, relu, pool):
    shape = output_shape(x, packed_weight, step=step, pool=pool)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last_3d)

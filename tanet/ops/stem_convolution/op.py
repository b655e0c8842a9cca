"""Convolution with stride 2 over pictures with few channels, as the first layer of a network computes it.

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

MAX_CHANNELS, MAX_KERNEL = 4, 7


def fits(weight: torch.Tensor, stride: list[int], padding: list[int], groups: int) -> bool:
    """Return whether `stem_conv` can compute this convolution (dilation 1)."""
    *_, high, wide = kernel = weight.shape[2:]
    return (
        groups == 1
        and weight.shape[1] <= MAX_CHANNELS
        and stride[-2:] == [2, 2]
        and high == wide
        and max(kernel) <= MAX_KERNEL
        and all(size % 2 == 1 and pad == size // 2 for size, pad in zip(kernel, padding, strict=True))
    )


def packed_channels(channels: int) -> int:
    """Return the number of channels of the packed picture: 4 · channels, rounded up to 8 or 16."""
    return 8 if channels <= 2 else 16


def pack_weight(weight: torch.Tensor) -> torch.Tensor:
    """Arrange the weight [O, C, (KT,) K, K] for `stem_conv`: [KT · taps, taps · packed channels, O].

    The window of K pixels covers taps = K // 2 + 1 packed pixels in each direction.
    """
    weight = weight[:, :, None] if weight.ndim == 4 else weight
    outputs, channels, times, size, _ = weight.shape
    taps = size // 2 + 1
    before = 2 * taps - size if size // 2 % 2 else 0  # pixels of the first packed pixel outside the window
    after = 2 * taps - size - before
    pairs = F.pad(weight, (before, after, before, after)).view(outputs, channels, times, taps, 2, taps, 2)
    rows = pairs.permute(2, 3, 5, 4, 6, 1, 0).reshape(times * taps, taps, 4 * channels, outputs)
    rows = F.pad(rows, (0, 0, 0, packed_channels(channels) - 4 * channels))
    return rows.flatten(1, 2).contiguous()


def pack_picture(x: torch.Tensor, size: int) -> torch.Tensor:
    """Turn pictures [N, C, H, W] into packed pictures [N, HO + taps - 1, WO + taps - 1, packed channels].

    This is the reference for the kernel that packs pictures.

    Args:
        x: pictures.
        size: K, the side of the convolution's window. The output of the convolution has HO = ⌈H / 2⌉ rows.
    """
    taps, before = size // 2 + 1, (size // 2 + 1) // 2
    high, wide = ((length + 1) // 2 + taps - 1 for length in x.shape[2:])
    after = (2 * high - x.shape[2] - 2 * before, 2 * wide - x.shape[3] - 2 * before)
    padded = F.pad(x, (2 * before, after[1], 2 * before, after[0]))
    pairs = padded.unflatten(3, (wide, 2)).unflatten(2, (high, 2))  # N C rows 2 columns 2
    packed = pairs.permute(0, 2, 4, 3, 5, 1).flatten(3)
    return F.pad(packed, (0, packed_channels(x.shape[1]) - packed.shape[3]))


def convolve_packed(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *, step: int = 1
) -> torch.Tensor:
    """Convolve pictures with stride 2 as a convolution of packed pixels, with gradients.

    Args:
        x: pictures [N, C, H, W] or clips [N, C, T, H, W].
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
        return F.conv2d(pack_picture(x, size).permute(0, 3, 1, 2), weight[:, :, 0], bias)
    packed = pack_picture(x.transpose(1, 2).flatten(0, 1), size).unflatten(0, (x.shape[0], x.shape[2]))
    return F.conv3d(packed.permute(0, 4, 1, 2, 3), weight, bias, (step, 1, 1), (weight.shape[2] // 2, 0, 0))


def output_shape(
    x: torch.Tensor, packed_weight: torch.Tensor, *, step: int, pool: bool
) -> tuple[int, int, int, int, int]:
    """Return the shape of the output of `stem_conv`, [N, O, T', H', W']."""
    images, _, frames, *sides = x.shape
    high, wide = ((side + 1) // 2 for side in sides)
    if pool:
        high, wide = (high + 1) // 2, (wide + 1) // 2
    return images, packed_weight.shape[2], -(-frames // step), high, wide


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
    """Convolve pictures with stride 2, without gradients: [N, C, T, H, W] → [N, O, T', H', W'].

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

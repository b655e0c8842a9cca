"""Pack images and weights for the convolutions of op.py (space to depth)."""

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
    """Return the number of channels of the packed image: 4 · channels, rounded up to 8 or 16."""
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


def pack_image(x: torch.Tensor, size: int) -> torch.Tensor:
    """Turn images [N, C, H, W] into packed images [N, HO + taps - 1, WO + taps - 1, packed channels].

    This is the reference for the kernel that packs images.

    Args:
        x: images.
        size: K, the side of the convolution's window. The output of the convolution has HO = ⌈H / 2⌉ rows.
    """
    taps, before = size // 2 + 1, (size // 2 + 1) // 2
    high, wide = ((length + 1) // 2 + taps - 1 for length in x.shape[2:])
    after = (2 * high - x.shape[2] - 2 * before, 2 * wide - x.shape[3] - 2 * before)
    padded = F.pad(x, (2 * before, after[1], 2 * before, after[0]))
    pairs = padded.unflatten(3, (wide, 2)).unflatten(2, (high, 2))  # N C rows 2 columns 2
    packed = pairs.permute(0, 2, 4, 3, 5, 1).flatten(3)
    return F.pad(packed, (0, packed_channels(x.shape[1]) - packed.shape[3]))


def output_shape(
    x: torch.Tensor, packed_weight: torch.Tensor, *, step: int, pool: bool
) -> tuple[int, int, int, int, int]:
    """Return the shape of the output of `stem_conv`, [N, O, T', H', W']."""
    images, _, frames, *sides = x.shape
    high, wide = ((side + 1) // 2 for side in sides)
    if pool:
        high, wide = (high + 1) // 2, (wide + 1) // 2
    return images, packed_weight.shape[2], -(-frames // step), high, wide

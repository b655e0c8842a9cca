"""The squeeze in evaluation, s = mean of act(scale · X + shift) (eq. 1), as partial sums over positions.

The squeeze either reads X, or is computed by the 1×1 convolution that produces X, without reading X again.

    squeeze          X → parts of s
    conv_squeeze     the convolution's input → X, parts of s

A part is the sum over some of the positions, divided by the number of all positions; s is the sum of the
parts. The parts are added in a fixed order, so results do not change from run to run.
"""

import torch
import triton
import triton.language as tl
from torch.nn import functional as F

from tanet.ops.common.triton_tiles import ACTS, activate, or_placeholder, padded_power_of_two, part_of_map

PLACES = 1024  # positions of a map that one program sums
CONV_PARTS = 8  # largest number of parts per map in `conv_squeeze`
# Multiply-adds per value that a convolution moves. Above this number, the convolution is bound by arithmetic,
# and the faster arithmetic of cuDNN saves more time than a second read of the output costs.
BALANCE = 96


@triton.jit
def _add_places(total, x, first, last, cs, C, s, b, ACT: tl.constexpr, STEPS: tl.constexpr, BP: tl.constexpr):
    """Add the positions of a map from `first` on to the sums [BP, BC]; all loads are in flight together."""
    for i in tl.static_range(STEPS):
        ps = first + i * BP + tl.arange(0, BP)
        inside = (ps[:, None] < last) & (cs[None, :] < C)
        # Keep the values in the cache: the filter reads them again soon.
        raw = tl.load(
            x + ps[:, None] * C + cs[None, :], mask=inside, other=0.0, eviction_policy="evict_last"
        ).to(tl.float32)
        total += tl.where(inside, activate(raw * s + b, ACT), 0.0)
    return total


@triton.jit
def _squeeze_kernel(
    x, scale, shift, parts_of_s, P, C, tiles_c, tiles, per_part,
    AFFINE: tl.constexpr, ACT: tl.constexpr, ONCE: tl.constexpr, STEPS: tl.constexpr,
    BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    image, images, part, cs, s, b = part_of_map(scale, shift, tiles, tiles_c, C, AFFINE, BC)
    first = part * per_part
    last = tl.minimum(first + per_part, P)
    x += image * P * C
    total = tl.zeros([BP, BC], tl.float32)
    if ONCE:
        total = _add_places(total, x, first, last, cs, C, s, b, ACT, STEPS, BP)
    else:
        for start in range(first, last, STEPS * BP):
            total = _add_places(total, x, start, last, cs, C, s, b, ACT, STEPS, BP)
    tl.store(parts_of_s + (part * images + image) * C + cs, tl.sum(total, 0) / P, mask=cs < C)


def squeeze(
    x: torch.Tensor, scale: torch.Tensor | None, shift: torch.Tensor | None, act: str, *, few: bool
) -> torch.Tensor:
    """Compute the parts of s [parts, N·T, C], float32, from channels-last maps [N·T, C, H, W]; one launch.

    Args:
        x: maps to normalise, activate and average.
        scale: [C], as in `adaptive_conv`.
        shift: [C].
        act: name of the activation.
        few: whether there are so few maps that each is spread over many small programs.
    """
    images, channels, places = x.shape[0], x.shape[1], x.shape[2] * x.shape[3]
    steps, block_p, block_c = (4, 256, 16) if few else (7, 64, 64)
    tiles_c, parts = triton.cdiv(channels, block_c), triton.cdiv(places, PLACES)
    per_part = triton.cdiv(places, parts)
    block_p = min(block_p, padded_power_of_two(per_part))
    steps = min(steps, triton.cdiv(per_part, block_p))
    out = torch.empty(parts, images, channels, device=x.device, dtype=torch.float32)
    _squeeze_kernel[(parts * tiles_c * images,)](
        x, *or_placeholder(scale, shift, otherwise=x), out,
        places, channels, tiles_c, parts * tiles_c, per_part,
        AFFINE=scale is not None, ACT=ACTS[act], ONCE=per_part <= steps * block_p, STEPS=steps,
        BP=block_p, BC=block_c,
    )  # fmt: skip
    return out


@triton.jit
def _conv_squeeze_kernel(
    x, weight, y, scale, shift, parts_of_s, P, C, IN, tiles_p, tiles_c, tiles, per_part,
    AFFINE: tl.constexpr, ACT: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    image, images, part, cs, s, b = part_of_map(scale, shift, tiles, tiles_c, C, AFFINE, BN)
    x += image * P * IN
    y += image * P * C
    sums = tl.zeros([BN], tl.float32)
    for tile in range(part * per_part, tl.minimum((part + 1) * per_part, tiles_p)):
        ps = tile * BM + tl.arange(0, BM)
        out = tl.zeros([BM, BN], tl.float32)
        for k in range(0, IN, BK):
            ks = k + tl.arange(0, BK)
            at = x + ps[:, None] * IN + ks[None, :]
            maps = tl.load(at, mask=(ps[:, None] < P) & (ks[None, :] < IN), other=0.0)
            at = weight + cs[None, :] * IN + ks[:, None]
            out = tl.dot(maps, tl.load(at, mask=(cs[None, :] < C) & (ks[:, None] < IN), other=0.0), out)
        inside = (ps[:, None] < P) & (cs[None, :] < C)
        tl.store(y + ps[:, None] * C + cs[None, :], out.to(y.dtype.element_ty), mask=inside)
        sums += tl.sum(tl.where(inside, activate(out * s + b, ACT), 0.0), 0)
    tl.store(parts_of_s + (part * images + image) * C + cs, sums / P, mask=cs < C)


def conv_squeeze(
    x: torch.Tensor,
    weight: torch.Tensor,
    scale: torch.Tensor | None,
    shift: torch.Tensor | None,
    act: str,
    *,
    few: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute a 1×1 convolution's output y [N·T, C, H, W] and the parts [parts, N·T, C] of its squeeze.

    One launch computes both where that is faster; elsewhere a cuDNN convolution is followed by `squeeze`.

    Args:
        x: input of the convolution [N·T, C', H, W], in channels-last.
        weight: [C, C', 1, 1], in the dtype of x.
        scale: [C]; scale, shift and act are applied to y before the squeeze, as in `adaptive_conv`.
        shift: [C].
        act: name of the activation.
        few: as in `squeeze`.
    """
    (images, inputs), channels, places = x.shape[:2], weight.shape[0], x.shape[2] * x.shape[3]
    computes = inputs * channels > BALANCE * (inputs + channels)
    # Leave float32 to cuDNN, because PyTorch's setting for TF32 does not apply to Triton kernels.
    if few or computes or x.dtype == torch.float32:
        y = F.conv2d(x, weight).contiguous(memory_format=torch.channels_last)
        return y, squeeze(y, scale, shift, act, few=few)
    block = {
        "BM": 128,
        "BN": min(64, padded_power_of_two(channels)),
        "BK": min(64, padded_power_of_two(inputs)),
    }
    tiles_p, tiles_c = triton.cdiv(places, block["BM"]), triton.cdiv(channels, block["BN"])
    per_part = triton.cdiv(tiles_p, CONV_PARTS)
    parts = triton.cdiv(tiles_p, per_part)
    new = {"device": x.device, "memory_format": torch.channels_last}
    y = torch.empty(images, channels, *x.shape[2:], dtype=x.dtype, **new)
    out = torch.empty(parts, images, channels, device=x.device, dtype=torch.float32)
    _conv_squeeze_kernel[(parts * tiles_c * images,)](
        x, weight.flatten(1).contiguous(), y, *or_placeholder(scale, shift, otherwise=x), out,
        places, channels, inputs, tiles_p, tiles_c, parts * tiles_c, per_part,
        AFFINE=scale is not None, ACT=ACTS[act], **block, num_warps=4, num_stages=3,
    )  # fmt: skip
    return y, out

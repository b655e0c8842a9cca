"""The squeeze of TAM in evaluation mode: s is the mean of act(scale · X + shift) over H and W (eq. 1).

    squeeze          X → parts of s
    conv_squeeze     input of the 1×1 convolution that produces X → X, parts of s

A part is a sum over some of the positions of a map, divided by the number of all positions. The squeeze s is
the sum of its parts. The parts are added in a fixed order, so results do not change from run to run.

`squeeze` reads X. `conv_squeeze` can compute X and the parts of s in one kernel, which does not read X again.
"""

from functools import partial

import torch
import triton
import triton.language as tl
from torch.nn import functional as F

from tanet.ops.common.fastest import run_fastest
from tanet.ops.common.triton_tiles import (
    ACTS,
    activate,
    or_placeholder,
    padded_power_of_two,
    part_of_map,
)

PLACES = 1024  # positions of a map that one program sums
CONV_PARTS = 8  # largest number of parts per map in `conv_squeeze`


@triton.jit
def _add_places(total, x, first, last, cs, C, s, b, ACT: tl.constexpr, STEPS: tl.constexpr, BP: tl.constexpr):
    """Add STEPS · BP positions of a map, from position `first` on, to the sums `total` [BP, BC].

    The loop is unrolled, so all loads are in flight together.
    """
    for i in tl.static_range(STEPS):
        ps = first + i * BP + tl.arange(0, BP)
        inside = (ps[:, None] < last) & (cs[None, :] < C)
        # Keep the maps in the cache, because the filter will soon read the maps again.
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
    """Compute the parts of s, float32 [parts, N·T, C], from channels-last maps [N·T, C, H, W], in one launch.

    Args:
        x: maps to normalise, activate and average.
        scale: [C], as in `adaptive_conv`.
        shift: [C].
        act: name of the activation.
        few: whether there are only few maps, so that each map is spread over many small programs.
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
    """Compute the output y [N·T, C, H, W] of a 1×1 convolution, and the parts [parts, N·T, C] of y's squeeze.

    One kernel can compute y and the parts, which saves reading y again. But cuDNN's convolution can be faster
    by more than that. The first call with each shape measures what is faster.

    Args:
        x: input of the convolution [N·T, C', H, W], in channels-last.
        weight: [C, C', 1, 1], in the dtype of x.
        scale: [C]. The squeeze is the mean of act(scale · y + shift).
        shift: [C].
        act: name of the activation.
        few: as in `squeeze`.
    """
    after = (scale, shift, act)

    def with_cudnn() -> tuple[torch.Tensor, torch.Tensor]:
        y = F.conv2d(x, weight).contiguous(memory_format=torch.channels_last)
        return y, squeeze(y, *after, few=few)

    def with_product() -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.mm(x.movedim(1, -1).flatten(0, 2), weight.flatten(1).t())
        y = rows.view(x.shape[0], *x.shape[2:], -1).movedim(-1, 1)
        return y, squeeze(y, *after, few=few)

    ways = {"cudnn": with_cudnn}
    if x.dtype != torch.float32:  # PyTorch's TF32 setting does not apply to Triton kernels
        ways |= {"product": with_product}
        ways |= {
            f"kernel, {wide} channels": partial(_conv_squeeze, x, weight, *after, wide=wide)
            for wide in (64, 128)
            if not few and (wide == 64 or weight.shape[0] > 64)
        }
    return run_fastest(("conv_squeeze", x.device, x.dtype, x.shape, weight.shape[0], few), ways)


def _conv_squeeze(
    x: torch.Tensor,
    weight: torch.Tensor,
    scale: torch.Tensor | None,
    shift: torch.Tensor | None,
    act: str,
    *,
    wide: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `conv_squeeze` in one launch; each program computes up to `wide` channels."""
    (images, inputs), channels, places = x.shape[:2], weight.shape[0], x.shape[2] * x.shape[3]
    block = {
        "BM": 128,
        "BN": min(wide, padded_power_of_two(channels)),
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
        AFFINE=scale is not None, ACT=ACTS[act], **block, num_warps=wide // 16, num_stages=3,
    )  # fmt: skip
    return y, out

"""The squeeze of TAM without gradients: s is the mean of act(scale · X + shift) over all positions (eq. 1).

A part is a sum over some of the positions of a map, divided by the number of all positions. The squeeze s is
the sum of its parts, which are added in a fixed order.
"""

import torch
import triton
import triton.language as tl

from tanet.ops.common.triton_tiles import ACTS, activate, or_placeholder, padded_power_of_two, part_of_map

PLACES = 1024  # positions of a map that one program sums


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
    """Compute the parts of s, float32 [parts, N·T, C], from channels-last maps [N·T, C, …], in one launch.

    Args:
        x: maps to normalise, activate and average.
        scale: [C], as in `adaptive_conv`.
        shift: [C].
        act: name of the activation.
        few: whether there are only few maps, so that each map is spread over many small programs.
    """
    images, channels, places = *x.shape[:2], x.shape[2:].numel()
    steps, block_p, block_c = (4, 256, 16) if few else (4, 32, 64)
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

"""Triton kernels for means of feature maps: `op.moments`, and the sums from which a squeeze is computed.

Each computation reads the maps once. Partial sums are added in a fixed order, so results do not change from
run to run.

The variance is E[D²] - E[D]², where D is X minus the channel's value at the first position. This subtraction
makes D small. Otherwise, a large mean of X would make the two terms nearly equal, and their difference would
lose precision.
"""

import torch
import triton
import triton.language as tl

from tanet.ops.common.triton_tiles import ACTS, activation_grad, device_of, or_placeholder, part_of_map

PARTS = 512  # approximate number of programs that keeps a GPU busy
PLACES = 256  # positions of a map that one program sums
STEPS = 4  # tiles whose loads are in flight together


@triton.jit
def _moment_parts_kernel(x, sums, M, C, per_part, STEPS: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr):
    cs = tl.program_id(0) * BC + tl.arange(0, BC)
    origin = tl.load(x + cs, mask=cs < C, other=0.0).to(tl.float32)[None, :]
    first = tl.program_id(1) * per_part
    last = tl.minimum(first + per_part, M)
    one = tl.zeros([BP, BC], tl.float32)
    two = tl.zeros([BP, BC], tl.float32)
    for start in range(first, last, STEPS * BP):
        for i in tl.static_range(STEPS):  # unrolled, so that the loads are in flight together
            ms = start + i * BP + tl.arange(0, BP)
            inside = (ms[:, None] < last) & (cs[None, :] < C)
            raw = tl.load(x + ms[:, None].to(tl.int64) * C + cs[None, :], mask=inside, other=0.0)
            away = tl.where(inside, raw.to(tl.float32) - origin, 0.0)
            one += away
            two += away * away
    to = sums + tl.program_id(1) * 2 * C + cs
    tl.store(to, tl.sum(one, 0), mask=cs < C)
    tl.store(to + C, tl.sum(two, 0), mask=cs < C)


@triton.jit
def _moments_kernel(x, sums, mean, var, M, C, parts, BR: tl.constexpr, BC: tl.constexpr):
    cs = tl.program_id(0) * BC + tl.arange(0, BC)
    one = tl.zeros([BR, BC], tl.float32)
    two = tl.zeros([BR, BC], tl.float32)
    for start in range(0, parts, BR):
        rows = start + tl.arange(0, BR)
        inside = (rows[:, None] < parts) & (cs[None, :] < C)
        at = sums + rows[:, None] * 2 * C + cs[None, :]
        one += tl.load(at, mask=inside, other=0.0)
        two += tl.load(at + C, mask=inside, other=0.0)
    away = tl.sum(one, 0) / M
    spread = tl.sum(two, 0) / M - away * away
    origin = tl.load(x + cs, mask=cs < C, other=0.0).to(tl.float32)
    tl.store(mean + cs, origin + away, mask=cs < C)
    spread = tl.maximum(spread, 0.0, propagate_nan=tl.PropagateNan.ALL)
    tl.store(var + cs, spread, mask=cs < C)


@triton.jit
def _squeeze_parts_kernel(
    x, scale, shift, out, P, C, per_part, tiles_c, tiles,
    AFFINE: tl.constexpr, ACT: tl.constexpr, STEPS: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    image, images, part, cs, s, b = part_of_map(scale, shift, tiles, tiles_c, C, AFFINE, BC)
    first = part * per_part
    last = tl.minimum(first + per_part, P)
    straight = tl.zeros([BP, BC], tl.float32)
    open_ = tl.zeros([BP, BC], tl.float32)
    rest = tl.zeros([BP, BC], tl.float32)
    for start in range(first, last, STEPS * BP):
        for i in tl.static_range(STEPS):
            ps = start + i * BP + tl.arange(0, BP)
            inside = (ps[:, None] < last) & (cs[None, :] < C)
            at = image * P * C + ps[:, None] * C + cs[None, :]
            raw = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
            pre = raw * s + b
            passed = tl.where(inside, activation_grad(pre, ACT), 0.0)
            straight += passed * raw
            open_ += passed
            if ACT == 2:
                rest += tl.where(inside & (pre >= 6.0), 6.0, 0.0)
    to = out + (part * 3 * images + image) * C + cs
    tl.store(to, tl.sum(straight, 0) / P, mask=cs < C)
    tl.store(to + images * C, tl.sum(open_, 0) / P, mask=cs < C)
    tl.store(to + 2 * images * C, tl.sum(rest, 0) / P, mask=cs < C)


@torch.library.custom_op("tanet::moments", mutates_args=())
def moments_triton(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute `op.moments` without gradients. If x is not in channels-last, x is copied to that format."""
    x = x.contiguous(memory_format=torch.channels_last)
    channels, places = x.shape[1], x.numel() // x.shape[1]
    tiles_c = triton.cdiv(channels, 64)
    per_part = max(256, triton.cdiv(places * tiles_c, PARTS))
    parts = triton.cdiv(places, per_part)
    new = {"device": x.device, "dtype": torch.float32}
    sums = torch.empty(parts, 2, channels, **new)
    mean, var = (torch.empty(channels, **new) for _ in range(2))
    with device_of(x):
        _moment_parts_kernel[(tiles_c, parts)](x, sums, places, channels, per_part, STEPS=STEPS, BP=32, BC=64)
        _moments_kernel[(triton.cdiv(channels, 16),)](
            x, sums, mean, var, places, channels, parts, BR=64, BC=16
        )
    return mean, var


@torch.library.custom_op("tanet::squeeze_parts", mutates_args=())
def squeeze_parts(
    x: torch.Tensor, scale: torch.Tensor | None, shift: torch.Tensor | None, act: str
) -> torch.Tensor:
    """Compute three means of each map, float32 [3, N·T, C], from which the squeeze follows.

    The squeeze is the mean of act(scale · x + shift) over H and W. It is equal to
    scale · first + shift · second + third, where the three means are:

        first     mean of x at positions where act returns its input, and of 0 at other positions
        second    mean of 1 at positions where act returns its input, and of 0 at other positions
        third     mean of 0 at positions where act returns its input, and of act's output at other positions
    """
    x = x.contiguous(memory_format=torch.channels_last)
    images, channels, places = x.shape[0], x.shape[1], x.shape[2] * x.shape[3]
    tiles_c = triton.cdiv(channels, 64)
    parts = triton.cdiv(places, PLACES)
    per_part = triton.cdiv(places, parts)
    out = torch.empty(parts, 3, images, channels, device=x.device, dtype=torch.float32)
    with device_of(x):
        _squeeze_parts_kernel[(tiles_c * parts * images,)](
            x, *or_placeholder(scale, shift, otherwise=x), out,
            places, channels, per_part, tiles_c, tiles_c * parts,
            AFFINE=scale is not None, ACT=ACTS[act], STEPS=STEPS, BP=16, BC=64, num_warps=2,
        )  # fmt: skip
    return out.sum(0) if parts > 1 else out[0]


@moments_triton.register_fake
def _(x):
    return tuple(torch.empty(x.shape[1], device=x.device, dtype=torch.float32) for _ in range(2))


@squeeze_parts.register_fake
def _(x, scale, shift, act):
    return torch.empty(3, x.shape[0], x.shape[1], device=x.device, dtype=torch.float32)

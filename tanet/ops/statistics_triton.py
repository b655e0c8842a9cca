"""`statistics.moments` and `statistics.squeeze` on a GPU, one reading of the maps each.

Sums are taken in parts, in a fixed order: results do not change from run to run. The moments are those of X
minus its first place, which lies among the values, so that their squares do not cancel.
"""

import torch
import triton
import triton.language as tl

from tanet.ops.adaptive_conv_triton import ACTS, _channels, _passes

PARTS = 512  # about as many programs as keep a GPU busy


@triton.jit
def _moment_parts(x, sums, M, C, per_part, BP: tl.constexpr, BC: tl.constexpr):
    cs = tl.program_id(0) * BC + tl.arange(0, BC)
    origin = tl.load(x + cs, mask=cs < C, other=0.0).to(tl.float32)[None, :]
    first = tl.program_id(1) * per_part
    last = tl.minimum(first + per_part, M)
    one = tl.zeros([BP, BC], tl.float32)
    two = tl.zeros([BP, BC], tl.float32)
    for start in range(first, last, BP):
        ms = start + tl.arange(0, BP)
        inside = (ms[:, None] < last) & (cs[None, :] < C)
        raw = tl.load(x + ms[:, None].to(tl.int64) * C + cs[None, :], mask=inside, other=0.0).to(tl.float32)
        away = tl.where(inside, raw - origin, 0.0)
        one += away
        two += away * away
    to = sums + tl.program_id(1) * 2 * C + cs
    tl.store(to, tl.sum(one, 0), mask=cs < C)
    tl.store(to + C, tl.sum(two, 0), mask=cs < C)


@triton.jit
def _moments(x, sums, mean, var, M, C, parts, BR: tl.constexpr, BC: tl.constexpr):
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
    tl.store(var + cs, tl.maximum(spread, 0.0), mask=cs < C)


@triton.jit
def _straight_parts(
    x, scale, shift, out, P, C, per_part, tiles_c, ACT: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr
):  # fmt: skip
    image, images = tl.program_id(1), tl.num_programs(1)
    part = tl.program_id(0) // tiles_c
    cs = tl.program_id(0) % tiles_c * BC + tl.arange(0, BC)
    s = _channels(scale, cs, cs < C, 1.0, True)
    b = _channels(shift, cs, cs < C, 0.0, True)
    first = part * per_part
    last = tl.minimum(first + per_part, P)
    a = tl.zeros([BP, BC], tl.float32)
    open_ = tl.zeros([BP, BC], tl.float32)
    rest = tl.zeros([BP, BC], tl.float32)
    for start in range(first, last, BP):
        ps = start + tl.arange(0, BP)
        inside = (ps[:, None] < last) & (cs[None, :] < C)
        at = image.to(tl.int64) * P * C + ps[:, None] * C + cs[None, :]
        raw = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
        pre = raw * s + b
        passed = tl.where(inside, _passes(pre, ACT), 0.0)
        a += passed * raw
        open_ += passed
        if ACT == 2:
            rest += tl.where(inside & (pre >= 6.0), 6.0, 0.0)
    to = out + (part * 3 * images + image) * C + cs
    tl.store(to, tl.sum(a, 0) / P, mask=cs < C)
    tl.store(to + images * C, tl.sum(open_, 0) / P, mask=cs < C)
    tl.store(to + 2 * images * C, tl.sum(rest, 0) / P, mask=cs < C)


@torch.library.custom_op("tanet::moments", mutates_args=())
def moments_triton(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`statistics.moments`; x is best in channels-last, else it is copied first."""
    x = x.contiguous(memory_format=torch.channels_last)
    channels, places = x.shape[1], x.numel() // x.shape[1]
    tiles_c = triton.cdiv(channels, 64)
    per_part = max(256, triton.cdiv(places * tiles_c, PARTS))
    parts = triton.cdiv(places, per_part)
    sums = torch.empty(parts, 2, channels, device=x.device)
    mean, var = (torch.empty(channels, device=x.device) for _ in range(2))
    _moment_parts[(tiles_c, parts)](x, sums, places, channels, per_part, BP=32, BC=64)
    _moments[(triton.cdiv(channels, 16),)](x, sums, mean, var, places, channels, parts, BR=64, BC=16)
    return mean, var


@moments_triton.register_fake
def _(x):
    return tuple(torch.empty(x.shape[1], device=x.device) for _ in range(2))


def _moments_setup(ctx, inputs, output):
    ctx.save_for_backward(inputs[0], output[0])


def _moments_gradient(ctx, d_mean, d_var):
    x, mean = ctx.saved_tensors
    count = x.numel() // x.shape[1]
    slope = (2 / count * d_var)[:, None, None]
    return (slope * (x - mean[:, None, None]) + (d_mean / count)[:, None, None]).to(x.dtype)


moments_triton.register_autograd(_moments_gradient, setup_context=_moments_setup)


@torch.library.custom_op("tanet::straight_parts", mutates_args=())
def _straight(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, act: str) -> torch.Tensor:
    x = x.contiguous(memory_format=torch.channels_last)
    images, channels, places = x.shape[0], x.shape[1], x.shape[2] * x.shape[3]
    tiles_c = triton.cdiv(channels, 64)
    per_part = 512
    parts = triton.cdiv(places, per_part)
    out = torch.empty(parts, 3, images, channels, device=x.device)
    _straight_parts[(tiles_c * parts, images)](
        x, scale, shift, out, places, channels, per_part, tiles_c, ACT=ACTS[act], BP=32, BC=64
    )
    return out.sum(0) if parts > 1 else out[0]


@_straight.register_fake
def _(x, scale, shift, act):
    return torch.empty(3, x.shape[0], x.shape[1], device=x.device)


def _straight_setup(ctx, inputs, output):
    x, scale, shift, ctx.act = inputs
    ctx.save_for_backward(x, scale, shift)


def _straight_gradient(ctx, d_out):
    x, scale, shift = ctx.saved_tensors
    pre = x * scale[:, None, None] + shift[:, None, None]
    passed = {"none": pre == pre, "relu": pre > 0, "relu6": (pre > 0) & (pre < 6)}[ctx.act]
    slope = (d_out[0] / (x.shape[2] * x.shape[3]))[..., None, None]
    return torch.where(passed, slope, 0.0).to(x.dtype), None, None, None


_straight.register_autograd(_straight_gradient, setup_context=_straight_setup)


def straight_parts(
    x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, act: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three numbers of each map [N·T, C], of its places where act is a straight line, and of the rest.

    The mean of x there (zeros elsewhere), the part of the places that is, and the mean of what act gives in
    the rest. Only x gets a gradient, through the first.
    """
    a, b, rest = _straight(x, scale, shift, act).unbind()
    return a, b.detach(), rest.detach()

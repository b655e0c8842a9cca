"""TAM's two branches in evaluation, from the maps to gate and kernel in three launches (eq. 1, 3 and 4).

    1  s_t = mean of act(scale · X_t + shift)      in parts of the places
    2  h = W ∗ s                                   the convolution along time
    3  V = σ(W' ReLU(BN(h)))      Θ = softmax(W3 ReLU(BN(W0 s)))

A small network at batch one waits for launches, not for arithmetic, and PyTorch's operations take about
fifteen here. Arithmetic is in float32 throughout; products of matrices are in three parts of tf32, which
is as exact.
"""

import torch
import triton
import triton.language as tl

from tanet.ops.adaptive_conv_triton import ACTS, _activate, _channels

PLACES = 512  # of a map, summed by one program


@triton.jit
def _squeeze(
    x, scale, shift, s_parts, P, C, tiles_c,
    AFFINE: tl.constexpr, ACT: tl.constexpr, PLACES: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    image, images = tl.program_id(1), tl.num_programs(1)
    part = tl.program_id(0) // tiles_c
    cs = tl.program_id(0) % tiles_c * BC + tl.arange(0, BC)
    s = _channels(scale, cs, cs < C, 1.0, AFFINE)
    b = _channels(shift, cs, cs < C, 0.0, AFFINE)
    total = tl.zeros([BP, BC], tl.float32)
    for i in tl.static_range(PLACES // BP):  # unrolled, so that all is on its way at once
        ps = part * PLACES + i * BP + tl.arange(0, BP)
        inside = (ps[:, None] < P) & (cs[None, :] < C)
        at = image.to(tl.int64) * P * C + ps[:, None] * C + cs[None, :]
        raw = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
        total += tl.where(inside, _activate(raw * s + b, ACT), 0.0)
    tl.store(s_parts + (part * images + image) * C + cs, tl.sum(total, 0) / P, mask=cs < C)


@triton.jit
def _rows(
    s_parts, parts, images, n, ts, T, cs, C, BN: tl.constexpr, BT: tl.constexpr, BC: tl.constexpr
):  # fmt: skip
    """Rows ts of s of clip n, [BT, BC]; zeros outside the clip."""
    which = tl.arange(0, BN)[:, None, None]
    t, c = ts[None, :, None], cs[None, None, :]
    inside = (which < parts) & (t >= 0) & (t < T) & (c < C)
    return tl.sum(tl.load(s_parts + (which * images + n * T + t) * C + c, mask=inside, other=0.0), 0)


@triton.jit
def _hidden(
    s_parts, weight, hidden, T, C, HIDDEN, parts, images,
    LK: tl.constexpr, BN: tl.constexpr, BT: tl.constexpr, BC: tl.constexpr, BH: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(1)
    ts = tl.arange(0, BT)
    hs = tl.program_id(0) * BH + tl.arange(0, BH)
    total = tl.zeros([BT, BH, BC], tl.float32)
    for c in range(0, C, BC):
        cs = c + tl.arange(0, BC)
        inside = (hs[:, None] < HIDDEN) & (cs[None, :] < C)
        for k in tl.static_range(LK):
            rows = _rows(s_parts, parts, images, n, ts + (k - LK // 2), T, cs, C, BN, BT, BC)
            w = tl.load(weight + hs[:, None] * C * LK + cs[None, :] * LK + k, mask=inside, other=0.0)
            total += rows[:, None, :] * w.to(tl.float32)[None, :, :]
    at = (n * T + ts[:, None]) * HIDDEN + hs[None, :]
    tl.store(hidden + at, tl.sum(total, 2), mask=(ts[:, None] < T) & (hs[None, :] < HIDDEN))


@triton.jit
def _norm(rows, mean, var, weight, bias, at, valid, eps):
    """BatchNorm with running statistics of the columns of rows, and ReLU."""
    scale = tl.load(weight + at, mask=valid, other=0.0).to(tl.float32)
    scale = scale / tl.sqrt(tl.load(var + at, mask=valid, other=1.0).to(tl.float32) + eps)
    shift = tl.load(bias + at, mask=valid, other=0.0).to(tl.float32)
    shift -= tl.load(mean + at, mask=valid, other=0.0).to(tl.float32) * scale
    return tl.maximum(rows * scale[None, :] + shift[None, :], 0.0)


@triton.jit
def _branches(
    s_parts, before, gate, kernel,
    g0, g_weight, g_bias, g_mean, g_var, g_eps, g3, l_weight, l_bias, l_mean, l_var, l_eps, l3,
    T, C, HIDDEN, WIDTH, parts, images,
    K: tl.constexpr, BN: tl.constexpr, BT: tl.constexpr, BC: tl.constexpr,
    BH: tl.constexpr, BW: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(1)
    cs = tl.program_id(0) * BC + tl.arange(0, BC)
    ts = tl.arange(0, BT)
    # The gate, rows t.
    logits = tl.zeros([BT, BC], tl.float32)
    for j in range(0, HIDDEN, BH):
        hs = j + tl.arange(0, BH)
        at = (n * T + ts[:, None]) * HIDDEN + hs[None, :]
        narrow = tl.load(before + at, mask=(ts[:, None] < T) & (hs[None, :] < HIDDEN), other=0.0)
        narrow = _norm(narrow, l_mean, l_var, l_weight, l_bias, hs, hs < HIDDEN, l_eps)
        w3 = l3 + cs[None, :] * HIDDEN + hs[:, None]
        w3 = tl.load(w3, mask=(cs[None, :] < C) & (hs[:, None] < HIDDEN), other=0.0).to(tl.float32)
        logits += tl.dot(narrow, w3, input_precision="tf32x3")
    to = gate + (n * T + ts[:, None]) * C + cs[None, :]
    tl.store(to, 1.0 / (1.0 + tl.exp(-logits)), mask=(ts[:, None] < T) & (cs[None, :] < C))
    # The kernel, rows c.
    rows = tl.trans(_rows(s_parts, parts, images, n, ts, T, cs, C, BN, BT, BC))
    ws, ks = tl.arange(0, BW), tl.arange(0, BK)
    w = tl.load(g0 + ws[None, :] * T + ts[:, None], mask=(ws[None, :] < WIDTH) & (ts[:, None] < T), other=0.0)
    hidden = tl.dot(rows, w.to(tl.float32), input_precision="tf32x3")  # [BC, BW]
    hidden = _norm(hidden, g_mean, g_var, g_weight, g_bias, ws, ws < WIDTH, g_eps)
    w = tl.load(
        g3 + ks[None, :] * WIDTH + ws[:, None], mask=(ks[None, :] < K) & (ws[:, None] < WIDTH), other=0.0
    )
    theta = tl.dot(hidden, w.to(tl.float32), input_precision="tf32x3")  # [BC, BK]
    theta = tl.where(ks[None, :] < K, theta, float("-inf"))
    theta = tl.exp(theta - tl.max(theta, 1)[:, None])
    theta /= tl.sum(theta, 1)[:, None]
    tl.store(
        kernel + (n * K + ks[None, :]) * C + cs[:, None], theta, mask=(ks[None, :] < K) & (cs[:, None] < C)
    )


@torch.library.custom_op("tanet::tam_branches", mutates_args=())
def tam_branches(
    x: torch.Tensor,
    scale: torch.Tensor | None,
    shift: torch.Tensor | None,
    act: str,
    frames: int,
    g: list[torch.Tensor],
    g_eps: float,
    l: list[torch.Tensor],  # noqa: E741
    l_eps: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gate [N, T, C] and the kernel [N, K, C], float32, in evaluation; no gradients.

    Args:
        x: maps [N·T, C, H, W], best in channels-last.
        scale: as in `adaptive_conv`, and so shift and act.
        shift: [C].
        act: its name.
        frames: T.
        g: of the global branch: first weight [αT, T], BatchNorm's weight, bias, mean, variance, and last
            weight [K, αT].
        g_eps: of its BatchNorm.
        l: of the local branch: first weight [C/β, C, taps], BatchNorm's, last weight [C, C/β, 1].
        l_eps: of its BatchNorm.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    scale, shift = (None if tensor is None else tensor.contiguous() for tensor in (scale, shift))
    g0, g3, l0, l3 = (weight.contiguous() for weight in (g[0], g[5], l[0], l[5]))
    clips, channels, places = x.shape[0] // frames, x.shape[1], x.shape[2] * x.shape[3]
    hidden, width, taps = l0.shape[0], g0.shape[0], g3.shape[0]
    tiles_c, parts = triton.cdiv(channels, 64), triton.cdiv(places, PLACES)
    block_t, block_w = (max(16, triton.next_power_of_2(size)) for size in (frames, width))
    new = {"device": x.device, "dtype": torch.float32}
    s_parts = torch.empty(parts, clips * frames, channels, **new)
    before = torch.empty(clips, frames, hidden, **new)
    gate, kernel = torch.empty(clips, frames, channels, **new), torch.empty(clips, taps, channels, **new)
    _squeeze[(parts * tiles_c, clips * frames)](
        x, x if scale is None else scale, x if shift is None else shift, s_parts,
        places, channels, tiles_c,
        AFFINE=scale is not None, ACT=ACTS[act], PLACES=PLACES, BP=64, BC=64,
    )  # fmt: skip
    block_n = triton.next_power_of_2(parts)
    _hidden[(triton.cdiv(hidden, 4), clips)](
        s_parts, l0, before, frames, channels, hidden, parts, clips * frames,
        LK=l0.shape[2], BN=block_n, BT=triton.next_power_of_2(frames), BC=64, BH=4,
    )  # fmt: skip
    _branches[(tiles_c, clips)](
        s_parts, before, gate, kernel, g0, *g[1:5], g_eps, g3, *l[1:5], l_eps, l3,
        frames, channels, hidden, width, parts, clips * frames,
        K=taps, BN=block_n, BT=block_t, BC=64, BH=32, BW=block_w, BK=16,
    )  # fmt: skip
    return gate, kernel


@tam_branches.register_fake
def _(x, scale, shift, act, frames, g, g_eps, l, l_eps):  # noqa: E741
    clips, channels = x.shape[0] // frames, x.shape[1]
    new = {"device": x.device, "dtype": torch.float32}
    return torch.empty(clips, frames, channels, **new), torch.empty(clips, g[5].shape[0], channels, **new)

"""The whole of a TAM in evaluation, in three launches on few clips, in four on many.

    1  s_t = mean of act(scale · X_t + shift)                          in parts of the places (eq. 1)
    2  h = ReLU(BN(W ∗ s)),  Θ = softmax(W3 ReLU(BN(W0 s)))            the convolution along time; eq. 4
    3  V = σ(W' h)                                                     eq. 3
    4  Y_t = Σ_k Θ_k V_{t+k-K//2} act(scale · X_{t+k-K//2} + shift)    `adaptive_conv`

A small network on one clip waits for launches, not for arithmetic: PyTorch's operations take about fifteen
before the filter. There each program of the last makes the part of V that it needs (`_filter`), and within a
kernel all loads are on their way before the first is waited for. Arithmetic is in float32 throughout;
products of matrices are in three parts of tf32, which is as exact.
"""

import torch
import triton
import triton.language as tl

from tanet.ops.adaptive_conv_triton import adaptive_conv_triton
from tanet.ops.tiles_triton import ACTS, activate, device_of, given, per_channel

FEW = 2  # clips, up to which a launch costs more than making the gate anew in every tile
TILE = 8192  # elements that a program holds at a time
PLACES = 1024  # of a map, summed by one program


@triton.jit
def _add(total, x, first, last, cs, C, s, b, ACT: tl.constexpr, STEPS: tl.constexpr, BP: tl.constexpr):
    """Add the places first … of a map to the sums [BP, BC]; all loads are on their way together."""
    for i in tl.static_range(STEPS):
        ps = first + i * BP + tl.arange(0, BP)
        inside = (ps[:, None] < last) & (cs[None, :] < C)
        raw = tl.load(x + ps[:, None] * C + cs[None, :], mask=inside, other=0.0).to(tl.float32)
        total += tl.where(inside, activate(raw * s + b, ACT), 0.0)
    return total


@triton.jit
def _squeeze(
    x, scale, shift, s_parts, P, C, tiles_c, tiles, per_part,
    AFFINE: tl.constexpr, ACT: tl.constexpr, ONCE: tl.constexpr, STEPS: tl.constexpr,
    BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    # One axis for all: a grid's second ends at 65,535, and there may be more images.
    image, images = tl.program_id(0) // tiles, tl.num_programs(0) // tiles
    part = tl.program_id(0) % tiles // tiles_c
    cs = tl.program_id(0) % tiles_c * BC + tl.arange(0, BC)
    s = per_channel(scale, cs, cs < C, 1.0, AFFINE)
    b = per_channel(shift, cs, cs < C, 0.0, AFFINE)
    first = part * per_part
    last = tl.minimum(first + per_part, P)
    x += image.to(tl.int64) * P * C
    total = tl.zeros([BP, BC], tl.float32)
    if ONCE:
        total = _add(total, x, first, last, cs, C, s, b, ACT, STEPS, BP)
    else:
        for start in range(first, last, STEPS * BP):
            total = _add(total, x, start, last, cs, C, s, b, ACT, STEPS, BP)
    tl.store(s_parts + (part * images + image) * C + cs, tl.sum(total, 0) / P, mask=cs < C)


@triton.jit
def _rows(s_parts, parts, images, n, ts, T, cs, C, BN: tl.constexpr):
    """s of clip n at the frames ts and channels cs, two grids that fit each other; zeros outside the clip."""
    which = tl.arange(0, BN)[:, None, None]
    t, c = ts[None, :, :], cs[None, :, :]
    inside = (which < parts) & (t >= 0) & (t < T) & (c < C)
    return tl.sum(tl.load(s_parts + (which * images + n * T + t) * C + c, mask=inside, other=0.0), 0)


@triton.jit
def _norm(rows, mean, var, weight, bias, at, valid, eps):
    """BatchNorm with running statistics of the columns of rows, and ReLU."""
    scale = tl.load(weight + at, mask=valid, other=0.0).to(tl.float32)
    scale = scale / tl.sqrt(tl.load(var + at, mask=valid, other=1.0).to(tl.float32) + eps)
    shift = tl.load(bias + at, mask=valid, other=0.0).to(tl.float32)
    shift -= tl.load(mean + at, mask=valid, other=0.0).to(tl.float32) * scale
    return activate(rows * scale[None, :] + shift[None, :], 1)


@triton.jit
def _hidden_and_kernel(
    s_parts, hidden, kernel,
    g0, g_weight, g_bias, g_mean, g_var, g_eps, g3, l0, l_weight, l_bias, l_mean, l_var, l_eps,
    l0_h, l0_c, l0_k, T, C, HIDDEN, WIDTH, parts, images, tiles_h,
    K: tl.constexpr, LK: tl.constexpr, BN: tl.constexpr, BT: tl.constexpr, BH: tl.constexpr,
    BC: tl.constexpr, BG: tl.constexpr, BW: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(1)
    if tl.program_id(0) < tiles_h:  # some of the hidden layer's channels
        ts, hs = tl.arange(0, BT), tl.program_id(0) * BH + tl.arange(0, BH)
        products = tl.zeros([BT, BH, BC], tl.float32)
        for start in range(0, C, BC):
            cs = start + tl.arange(0, BC)
            for k in tl.static_range(LK):
                frames = ts[:, None] + (k - LK // 2)
                rows = _rows(s_parts, parts, images, n, frames, T, cs[None, :], C, BN)  # [BT, BC]
                inside = (hs[:, None] < HIDDEN) & (cs[None, :] < C)
                w = tl.load(l0 + hs[:, None] * l0_h + cs[None, :] * l0_c + k * l0_k, mask=inside, other=0.0)
                products += rows[:, None, :] * w.to(tl.float32)[None, :, :]
        total = tl.sum(products, 2)
        total = _norm(total, l_mean, l_var, l_weight, l_bias, hs, hs < HIDDEN, l_eps)
        at = (n * T + ts[:, None]) * HIDDEN + hs[None, :]
        tl.store(hidden + at, total, mask=(ts[:, None] < T) & (hs[None, :] < HIDDEN))
    else:  # the kernels of some channels
        cs = (tl.program_id(0) - tiles_h) * BG + tl.arange(0, BG)
        # The frames are summed over in a product of matrices, which takes no fewer than 16.
        BS: tl.constexpr = BT if BT > 16 else 16
        ss, ws, ks = tl.arange(0, BS), tl.arange(0, BW), tl.arange(0, BK)
        rows = _rows(s_parts, parts, images, n, ss[None, :], T, cs[:, None], C, BN)  # [BG, BS]
        inside = (ws[None, :] < WIDTH) & (ss[:, None] < T)
        w0 = tl.load(g0 + ws[None, :] * T + ss[:, None], mask=inside, other=0.0).to(tl.float32)
        inside = (ks[None, :] < K) & (ws[:, None] < WIDTH)
        w3 = tl.load(g3 + ks[None, :] * WIDTH + ws[:, None], mask=inside, other=0.0).to(tl.float32)
        wide = tl.dot(rows, w0, input_precision="tf32x3")  # [BG, BW]
        wide = _norm(wide, g_mean, g_var, g_weight, g_bias, ws, ws < WIDTH, g_eps)
        theta = tl.dot(wide, w3, input_precision="tf32x3")  # [BG, BK]
        theta = tl.where(ks[None, :] < K, theta, float("-inf"))
        theta = tl.exp(theta - tl.max(theta, 1)[:, None])
        theta /= tl.sum(theta, 1)[:, None]
        to = kernel + (n * K + ks[None, :]) * C + cs[:, None]
        tl.store(to, theta, mask=(ks[None, :] < K) & (cs[:, None] < C))


@triton.jit
def _gate(hidden, l3, gate, T, C, HIDDEN, BT: tl.constexpr, BC: tl.constexpr, BH: tl.constexpr):
    n = tl.program_id(1)
    cs = tl.program_id(0) * BC + tl.arange(0, BC)
    ts = tl.arange(0, BT)
    logits = tl.zeros([BT, BC], tl.float32)
    for j in range(0, HIDDEN, BH):
        hs = j + tl.arange(0, BH)
        at = (n * T + ts[:, None]) * HIDDEN + hs[None, :]
        rows = tl.load(hidden + at, mask=(ts[:, None] < T) & (hs[None, :] < HIDDEN), other=0.0)
        w = l3 + cs[None, :] * HIDDEN + hs[:, None]
        w = tl.load(w, mask=(cs[None, :] < C) & (hs[:, None] < HIDDEN), other=0.0).to(tl.float32)
        logits += tl.dot(rows, w, input_precision="tf32x3")
    to = gate + (n * T + ts[:, None]) * C + cs[None, :]
    tl.store(to, 1.0 / (1.0 + tl.exp(-logits)), mask=(ts[:, None] < T) & (cs[None, :] < C))


@triton.jit
def _filter(
    x, y, hidden, l3, kernel, scale, shift, T, P, C, HIDDEN, tiles_c,
    K: tl.constexpr, AFFINE: tl.constexpr, ACT: tl.constexpr,
    BP: tl.constexpr, BC: tl.constexpr, BH: tl.constexpr,
):  # fmt: skip
    """One frame of the answer in a tile of places and channels."""
    n, t = tl.program_id(1) // T, tl.program_id(1) % T
    cs = tl.program_id(0) % tiles_c * BC + tl.arange(0, BC)
    ps = tl.program_id(0) // tiles_c * BP + tl.arange(0, BP)
    inside = (ps[:, None] < P) & (cs[None, :] < C)
    offsets = ps[:, None] * C + cs[None, :]
    s = per_channel(scale, cs, cs < C, 1.0, AFFINE)
    b = per_channel(shift, cs, cs < C, 0.0, AFFINE)
    out = tl.zeros([BP, BC], tl.float32)
    for k in tl.static_range(K):
        at = t + (k - K // 2)
        there = (at >= 0) & (at < T)
        start = (n * T + at).to(tl.int64)
        raw = tl.load(x + start * P * C + offsets, mask=inside & there, other=0.0).to(tl.float32)
        logits = tl.zeros([BC], tl.float32)
        for j in range(0, HIDDEN, BH):
            hs = j + tl.arange(0, BH)
            row = tl.load(hidden + start * HIDDEN + hs, mask=(hs < HIDDEN) & there, other=0.0)
            w = l3 + cs[:, None] * HIDDEN + hs[None, :]
            w = tl.load(w, mask=(cs[:, None] < C) & (hs[None, :] < HIDDEN), other=0.0).to(tl.float32)
            logits += tl.sum(w * row[None, :], 1)
        weight = tl.load(kernel + (n * K + k) * C + cs, mask=(cs < C) & there, other=0.0)
        weight = weight / (1.0 + tl.exp(-logits))  # zero where there is no frame
        out += weight[None, :] * activate(raw * s + b, ACT)
    to = y + (n * T + t).to(tl.int64) * P * C + offsets
    tl.store(to, out.to(y.dtype.element_ty), mask=inside)


@torch.library.custom_op("tanet::tam", mutates_args=())
def tam(
    x: torch.Tensor,
    scale: torch.Tensor | None,
    shift: torch.Tensor | None,
    act: str,
    frames: int,
    g: list[torch.Tensor],
    g_eps: float,
    l: list[torch.Tensor],  # noqa: E741
    l_eps: float,
) -> torch.Tensor:
    """TAM's answer [N·T, C, H, W] in evaluation, in channels-last; no gradients.

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
    with device_of(x):
        hidden, kernel = _narrow(x, scale, shift, act, frames, g, g_eps, l, l_eps)
        if x.shape[0] // frames > FEW:
            gate = _open(hidden, l[5], x)
            return adaptive_conv_triton(x, kernel.mT, gate.mT, scale, shift, act)
        return _filtered(x, hidden, l[5], kernel, scale, shift, act)


@tam.register_fake
def _(x, scale, shift, act, frames, g, g_eps, l, l_eps):  # noqa: E741
    return torch.empty_like(x, memory_format=torch.channels_last)


def _narrow(x, scale, shift, act, frames, g, g_eps, l, l_eps):  # noqa: E741
    """The local branch's hidden layer [N, T, C/β] and the kernel [N, K, C], both float32; two launches."""
    g0, g3, l0 = g[0].contiguous(), g[5].contiguous(), l[0]
    clips, channels, places = _sizes(x, frames)
    width, taps = g0.shape[0], g3.shape[0]
    # Few clips are spread over many small programs; of many, a program does more at a time.
    few = clips <= FEW
    steps, block_p, block_c, block_h = (4, 256, 16, 1) if few else (7, 64, 64, 4)
    tiles_c, parts = triton.cdiv(channels, block_c), triton.cdiv(places, PLACES)
    per_part = triton.cdiv(places, parts)
    new = {"device": x.device, "dtype": torch.float32}
    s_parts = torch.empty(parts, clips * frames, channels, **new)
    hidden = torch.empty(clips, frames, l0.shape[0], **new)
    kernel = torch.empty(clips, taps, channels, **new)
    block_p = min(block_p, _power(per_part))
    steps = min(steps, triton.cdiv(per_part, block_p))
    _squeeze[(parts * tiles_c * clips * frames,)](
        x, *given(scale, shift, otherwise=x), s_parts, places, channels, tiles_c, parts * tiles_c, per_part,
        AFFINE=scale is not None, ACT=ACTS[act], ONCE=per_part <= steps * block_p, STEPS=steps,
        BP=block_p, BC=block_c,
    )  # fmt: skip
    block_n, block_t = triton.next_power_of_2(parts), triton.next_power_of_2(frames)
    tiles_h = triton.cdiv(l0.shape[0], block_h)
    _hidden_and_kernel[(tiles_h + triton.cdiv(channels, 32), clips)](
        s_parts, hidden, kernel, g0, *g[1:5], g_eps, g3, l0, *l[1:5], l_eps,
        *l0.stride(), frames, channels, l0.shape[0], width, parts, clips * frames, tiles_h,
        K=taps, LK=l0.shape[2], BN=block_n, BT=block_t, BH=block_h,
        BC=_power(channels, most=max(16, TILE // (max(block_n, block_h) * block_t))), BG=32,
        BW=_power(width), BK=16,
    )  # fmt: skip
    return hidden, kernel


def _open(hidden: torch.Tensor, l3: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The gate [N, T, C] that the hidden layer [N, T, C/β] gives rise to; one launch."""
    clips, frames, width = hidden.shape
    gate = torch.empty(clips, frames, x.shape[1], device=x.device)
    _gate[(triton.cdiv(x.shape[1], 64), clips)](
        hidden, l3.contiguous(), gate, frames, x.shape[1], width,
        BT=_power(frames), BC=64, BH=32,
    )  # fmt: skip
    return gate


def _filtered(x, hidden, l3, kernel, scale, shift, act):
    """The answer for few clips; one launch."""
    clips, frames, width = hidden.shape
    _, channels, places = _sizes(x, frames)
    y = torch.empty_like(x)
    tiles_c = triton.cdiv(channels, 64)
    _filter[(triton.cdiv(places, 32) * tiles_c, clips * frames)](
        x, y, hidden, l3.contiguous(), kernel, *given(scale, shift, otherwise=x),
        frames, places, channels, width, tiles_c,
        K=kernel.shape[1], AFFINE=scale is not None, ACT=ACTS[act], BP=32, BC=64, BH=_power(width, most=64),
    )  # fmt: skip
    return y


def _sizes(x: torch.Tensor, frames: int) -> tuple[int, int, int]:
    """N, C and the number of places H·W."""
    return x.shape[0] // frames, x.shape[1], x.shape[2] * x.shape[3]


def _power(size: int, *, most: int = 1 << 16) -> int:
    """The power of two that holds so many, at least what a product of matrices takes."""
    return min(most, max(16, triton.next_power_of_2(size)))

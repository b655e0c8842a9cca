"""Backward pass of TAM's branches in training, in two launches; see triton_forward.py for the symbols.

v are the logits of the gate, w those of the kernel; dn and dm are the gradients of the BatchNorms' outputs.

    dv = dV · V (1 - V)                  dw = Θ (dΘ - Σ Θ dΘ)
    dn = W'ᵀ dv  where h > 0             dm = W2ᵀ dw  where ReLU(BN(z)) > 0

The gradient of a BatchNorm's input needs two sums over all rows: of the gradient of its output, and of this
gradient times the normalised input. So the first launch computes dn and its sums, and all sums of the global
branch, in parts. The second launch computes the gradients of s and of the weights.
"""

import triton
import triton.language as tl

from tanet.ops.common.triton_tiles import activate
from tanet.ops.tam_training.triton_tiles import (
    clip_rows,
    hidden_tile,
    load_weights,
    product,
    wide_rows,
)

SUMMED = 4096  # numbers that a program loads together to add up parts of a sum


@triton.jit
def _gate_gradient(d_gate, gate, d_gate_clip, rs, R, T, cs, C):
    """Load dv, the gradient of the gate's logits, [BM, BC]."""
    inside = (rs < R)[:, None] & (cs < C)[None, :]
    value = tl.load(gate + rs.to(tl.int64)[:, None] * C + cs[None, :], mask=inside, other=0.0)
    at = (rs // T).to(tl.int64) * d_gate_clip + rs % T * C
    return tl.load(d_gate + at[:, None] + cs[None, :], mask=inside, other=0.0) * value * (1.0 - value)


@triton.jit
def _hidden_gradient(
    d_gate, gate, d_gate_clip, u, mean, var, weight, bias, l3, dn, sums, block, tile, R, T, C, HIDDEN, eps,
    kind: tl.constexpr, BM: tl.constexpr, BH: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Compute a tile of dn, and its part of the sums of dn · û and of dn. û is the normalised u."""
    rs, hs = block * BM + tl.arange(0, BM), tile * BH + tl.arange(0, BH)
    total = tl.zeros([BM, BH], tl.float32)
    for start in range(0, C, BC):
        cs = start + tl.arange(0, BC)
        dv = _gate_gradient(d_gate, gate, d_gate_clip, rs, R, T, cs, C)
        inside = (cs < C)[:, None] & (hs < HIDDEN)[None, :]
        total = product(
            dv, tl.load(l3 + cs[:, None] * HIDDEN + hs[None, :], mask=inside, other=0.0), total, kind
        )
    rstd = 1.0 / tl.sqrt(tl.load(var + hs, mask=hs < HIDDEN, other=1.0) + eps)
    w, b = load_weights(weight, bias, hs, HIDDEN)
    centre = tl.load(mean + hs, mask=hs < HIDDEN, other=0.0)
    normal, h = hidden_tile(u, rs, R, hs, HIDDEN, centre, rstd, w, b)
    inside = (rs < R)[:, None] & (hs < HIDDEN)[None, :]
    total = tl.where((h > 0.0) & inside, total, 0.0)
    tl.store(dn + rs.to(tl.int64)[:, None] * HIDDEN + hs[None, :], total, mask=inside)
    to = sums + block * 2 * HIDDEN + hs
    tl.store(to, tl.sum(total * normal, 0), mask=hs < HIDDEN)
    tl.store(to + HIDDEN, tl.sum(total, 0), mask=hs < HIDDEN)


@triton.jit
def _wide_gradient(
    rows, g0, mean, var, weight, bias, g3, kernel, d_kernel, d_kernel_clip, n, cs, ws, T, C, WIDTH, eps,
    kind: tl.constexpr, K: tl.constexpr, BT: tl.constexpr, BC: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    """Compute dm, the normalised z and ReLU(BN(z)) of one clip, [BW, BC] each, and dw, K times [BC]."""
    centre = tl.load(mean + ws, mask=ws < WIDTH, other=0.0)
    rstd = 1.0 / tl.sqrt(tl.load(var + ws, mask=ws < WIDTH, other=1.0) + eps)
    w, b = load_weights(weight, bias, ws, WIDTH)
    z = wide_rows(rows, g0, T, WIDTH, ws, kind, BT, BW)
    normal = (z - centre[:, None]) * rstd[:, None]
    wide = activate(normal * w[:, None] + b[:, None], 1)
    away = tl.zeros([BC], tl.float32)
    thetas = ()
    for k in tl.static_range(K):
        theta = tl.load(kernel + (tl.cast(n, tl.int64) * K + k) * C + cs, mask=cs < C, other=0.0)
        d = tl.load(d_kernel + tl.cast(n, tl.int64) * d_kernel_clip + k * C + cs, mask=cs < C, other=0.0)
        away += theta * d
        thetas += (theta,)
    dm = tl.zeros([BW, BC], tl.float32)
    logits = ()
    for k in tl.static_range(K):
        d = tl.load(d_kernel + tl.cast(n, tl.int64) * d_kernel_clip + k * C + cs, mask=cs < C, other=0.0)
        dw = thetas[k] * (d - away)
        w3 = tl.load(g3 + k * WIDTH + ws, mask=ws < WIDTH, other=0.0).to(tl.float32)
        dm += w3[:, None] * dw[None, :]
        logits += (dw,)
    there = (ws < WIDTH)[:, None] & (cs < C)[None, :]
    return tl.where((wide > 0.0) & there, dm, 0.0), tl.where(there, normal, 0.0), wide, logits


@triton.jit
def _global_sums(
    s, g0, mean, var, weight, bias, g3, kernel, d_kernel, d_kernel_clip, sums,
    part, N, T, C, WIDTH, tiles_c, per_part, eps,
    K: tl.constexpr, BT: tl.constexpr, BC: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    """Compute a part of the sums of the global branch.

    `sums` [parts, …] holds the sums of dw · ReLU(BN(z)) [K, WIDTH]; of dm · ẑ and dm [WIDTH each]; of dm · s
    and ẑ · s [WIDTH, T each]; and of s [T]. ẑ is the normalised z.
    """
    cs, ws, ts = part % tiles_c * BC + tl.arange(0, BC), tl.arange(0, BW), tl.arange(0, BT)
    first = part // tiles_c * per_part
    last_layer = ()
    for _ in tl.static_range(K):
        last_layer += (tl.zeros([BW], tl.float32),)
    slope, offset = tl.zeros([BW], tl.float32), tl.zeros([BW], tl.float32)
    with_s, normal_s = tl.zeros([BW, BT], tl.float32), tl.zeros([BW, BT], tl.float32)
    only_s = tl.zeros([BT], tl.float32)
    for n in range(first, tl.minimum(first + per_part, N)):
        rows = clip_rows(s, n, T, cs, C, T * C, BT)
        dm, normal, wide, dws = _wide_gradient(
            rows, g0, mean, var, weight, bias, g3, kernel, d_kernel, d_kernel_clip, n, cs, ws, T, C, WIDTH,
            eps, s.dtype.element_ty, K, BT, BC, BW,
        )  # fmt: skip
        added = ()
        for k in tl.static_range(K):
            added += (last_layer[k] + tl.sum(wide * dws[k][None, :], 1),)
        last_layer = added
        slope += tl.sum(dm * normal, 1)
        offset += tl.sum(dm, 1)
        # In float32, because differences of these sums and products of other sums follow.
        with_s = product(dm, tl.trans(rows), with_s, tl.float32)
        normal_s = product(normal, tl.trans(rows), normal_s, tl.float32)
        only_s += tl.sum(rows.to(tl.float32), 1)
    to = sums + part * (WIDTH * (K + 2 + 2 * T) + T)
    for k in tl.static_range(K):
        tl.store(to + k * WIDTH + ws, last_layer[k], mask=ws < WIDTH)
    tl.store(to + K * WIDTH + ws, slope, mask=ws < WIDTH)
    tl.store(to + (K + 1) * WIDTH + ws, offset, mask=ws < WIDTH)
    at, inside = ws[:, None] * T + ts[None, :], (ws < WIDTH)[:, None] & (ts < T)[None, :]
    tl.store(to + (K + 2) * WIDTH + at, with_s, mask=inside)
    tl.store(to + (K + 2 + T) * WIDTH + at, normal_s, mask=inside)
    tl.store(to + (K + 2 + 2 * T) * WIDTH + ts, only_s, mask=ts < T)


@triton.jit
def _sums_kernel(
    s, d_gate, d_kernel, gate, kernel, u, d_gate_clip, d_kernel_clip,
    l_mean, l_var, l_weight, l_bias, l3, dn, l_sums, g0, g_mean, g_var, g_weight, g_bias, g3, g_sums,
    N, T, C, HIDDEN, WIDTH, tiles_h, programs_h, tiles_c, per_part, l_eps, g_eps,
    K: tl.constexpr, BM: tl.constexpr, BH: tl.constexpr, BC: tl.constexpr,
    BT: tl.constexpr, BW: tl.constexpr,
):  # fmt: skip
    pid = tl.program_id(0)
    if pid < programs_h:
        _hidden_gradient(
            d_gate, gate, d_gate_clip, u, l_mean, l_var, l_weight, l_bias, l3, dn, l_sums,
            pid // tiles_h, pid % tiles_h, N * T, T, C, HIDDEN, l_eps, s.dtype.element_ty, BM, BH, BC,
        )  # fmt: skip
    else:
        _global_sums(
            s, g0, g_mean, g_var, g_weight, g_bias, g3, kernel, d_kernel, d_kernel_clip, g_sums,
            pid - programs_h, N, T, C, WIDTH, tiles_c, per_part, g_eps, K, BT, BC, BW,
        )  # fmt: skip

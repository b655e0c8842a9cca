"""Second launch of the backward pass of TAM's branches: the gradients of s and of the weights.

Its first program computes the gradients of the global branch's weights. Then there is a program for each tile
of the local branch's weights, and one for each clip and block of channels of s.
"""

import torch
import triton
import triton.language as tl

from tanet.ops.common.triton_tiles import device_of
from tanet.ops.tam_training.triton_backward import (
    SUMMED,
    _gate_gradient,
    _sums_kernel,
    _wide_gradient,
)
from tanet.ops.tam_training.triton_forward import LAUNCH, blocks, parts_of_clips
from tanet.ops.tam_training.triton_tiles import (
    clip_rows,
    hidden_tile,
    load_weights,
    product,
    shifted_rows,
    summed,
)


@triton.jit
def _norm_gradient(dn, normal, slope, offset, scale, count):
    """Return the gradient of a BatchNorm's input. All but `dn` and `normal` are broadcast."""
    return scale * (dn - (offset + normal * slope) / count)


@triton.jit
def _local_values(sums, l_parts, mean, var, weight, bias, hs, HIDDEN, eps, BP: tl.constexpr):
    """Return what `_local_tile` needs for each hidden channel, and the sums of dn · û and of dn."""
    rstd = 1.0 / tl.sqrt(tl.load(var + hs, mask=hs < HIDDEN, other=1.0) + eps)
    w, b = load_weights(weight, bias, hs, HIDDEN)
    slope = summed(sums, l_parts, hs, hs < HIDDEN, 2 * HIDDEN, BP)
    offset = summed(sums + HIDDEN, l_parts, hs, hs < HIDDEN, 2 * HIDDEN, BP)
    return tl.load(mean + hs, mask=hs < HIDDEN, other=0.0), rstd, w, b, slope, offset


@triton.jit
def _local_tile(u, dn, rs, valid, R, hs, HIDDEN, centre, rstd, w, b, slope, offset):
    """Return the gradient of u, and h, [BM, BH] each. Both are zero where `valid` is false."""
    normal, h = hidden_tile(u, rs, R, hs, HIDDEN, centre, rstd, w, b)
    inside = valid[:, None] & (hs < HIDDEN)[None, :]
    d = tl.load(dn + rs.to(tl.int64)[:, None] * HIDDEN + hs[None, :], mask=inside, other=0.0)
    du = _norm_gradient(d, normal, slope[None, :], offset[None, :], (w * rstd)[None, :], R)
    return tl.where(inside, du, 0.0), tl.where(inside, h, 0.0)


@triton.jit
def _squeeze_gradient(
    s, ds, u, dn, l_sums, l_parts, l_mean, l_var, l_weight, l_bias, l0,
    g0, g_mean, g_var, g_weight, g_bias, g3, g_sums, g_parts, kernel, d_kernel, d_kernel_clip,
    n, tile, N, T, C, HIDDEN, WIDTH, l_eps, g_eps, LK: tl.constexpr, K: tl.constexpr,
    BH: tl.constexpr, BC: tl.constexpr, BT: tl.constexpr, BW: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """Compute the gradient of s for one clip and a block of channels."""
    kind = s.dtype.element_ty
    cs, ws, ts = tile * BC + tl.arange(0, BC), tl.arange(0, BW), tl.arange(0, BT)
    rows = clip_rows(s, n, T, cs, C, T * C, BT)
    dm, normal, _wide, _dw = _wide_gradient(
        rows, g0, g_mean, g_var, g_weight, g_bias, g3, kernel, d_kernel, d_kernel_clip, n, cs, ws, T, C,
        WIDTH, g_eps, kind, K, BT, BC, BW,
    )  # fmt: skip
    part = WIDTH * (K + 2 + 2 * T) + T
    slope = summed(g_sums + K * WIDTH, g_parts, ws, ws < WIDTH, part, 4 * BP)
    offset = summed(g_sums + (K + 1) * WIDTH, g_parts, ws, ws < WIDTH, part, 4 * BP)
    w, _b = load_weights(g_weight, g_bias, ws, WIDTH)
    scale = w / tl.sqrt(tl.load(g_var + ws, mask=ws < WIDTH, other=1.0) + g_eps)
    count = tl.cast(N, tl.float32) * C
    dz = _norm_gradient(dm, normal, slope[:, None], offset[:, None], scale[:, None], count)
    inside = (ts < T)[:, None] & (ws < WIDTH)[None, :]
    w0 = tl.load(g0 + ws[None, :] * T + ts[:, None], mask=inside, other=0.0)
    total = product(w0, dz, tl.zeros([BT, BC], tl.float32), kind)
    for start in range(0, HIDDEN, BH):
        hs = start + tl.arange(0, BH)
        weighs = (hs < HIDDEN)[:, None] & (cs < C)[None, :]
        centre, rstd, weight, bias, l_slope, l_offset = _local_values(
            l_sums, l_parts, l_mean, l_var, l_weight, l_bias, hs, HIDDEN, l_eps, BP
        )
        for k in tl.static_range(LK):
            t = ts - (k - LK // 2)  # the frame whose u depends on frame ts through tap k
            valid = (t >= 0) & (t < T) & (ts < T)
            du, _h = _local_tile(
                u, dn, n * T + tl.where(valid, t, 0), valid, N * T, hs, HIDDEN,
                centre, rstd, weight, bias, l_slope, l_offset,
            )  # fmt: skip
            taps = tl.load(l0 + hs[:, None] * C * LK + cs[None, :] * LK + k, mask=weighs, other=0.0)
            total = product(du, taps, total, kind)
    to = ds + tl.cast(n, tl.int64) * T * C + ts[:, None] * C + cs[None, :]
    tl.store(to, total.to(ds.dtype.element_ty), mask=(ts < T)[:, None] & (cs < C)[None, :])


@triton.jit
def _local_weights(
    s, d_gate, d_gate_clip, gate, u, dn, sums, l_parts, mean, var, weight, bias, d_l0, d_weight, d_bias, d_l3,
    tile_h, tile_c, R, T, C, HIDDEN, eps, LK: tl.constexpr,
    BM: tl.constexpr, BH: tl.constexpr, BC: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """Compute the gradients of a tile of the local branch's weights."""
    kind = s.dtype.element_ty
    hs, cs = tile_h * BH + tl.arange(0, BH), tile_c * BC + tl.arange(0, BC)
    first = ()
    for _ in tl.static_range(LK):
        first += (tl.zeros([BH, BC], tl.float32),)
    last = tl.zeros([BH, BC], tl.float32)
    centre, rstd, w, b, slope, offset = _local_values(
        sums, l_parts, mean, var, weight, bias, hs, HIDDEN, eps, BP
    )
    if tile_c == 0:
        tl.store(d_weight + hs, slope, mask=hs < HIDDEN)
        tl.store(d_bias + hs, offset, mask=hs < HIDDEN)
    for start in range(0, R, BM):
        rs = start + tl.arange(0, BM)
        du, h = _local_tile(u, dn, rs, rs < R, R, hs, HIDDEN, centre, rstd, w, b, slope, offset)
        du_t, h_t = tl.trans(du), tl.trans(h)
        added = ()
        for k in tl.static_range(LK):
            rows = shifted_rows(s, rs, k - LK // 2, R, T, cs, C)
            added += (product(du_t, rows, first[k], kind),)
        first = added
        last = product(h_t, _gate_gradient(d_gate, gate, d_gate_clip, rs, R, T, cs, C), last, kind)
    inside = (hs < HIDDEN)[:, None] & (cs < C)[None, :]
    for k in tl.static_range(LK):
        tl.store(d_l0 + hs[:, None] * C * LK + cs[None, :] * LK + k, first[k], mask=inside)
    tl.store(d_l3 + cs[None, :] * HIDDEN + hs[:, None], last, mask=inside)


@triton.jit
def _global_weights(
    sums, parts, var, weight, d_g0, d_weight, d_bias, d_g3, N, T, C, WIDTH, eps,
    K: tl.constexpr, BT: tl.constexpr, BW: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """Compute the gradients of the global branch's weights from the sums of `_global_sums`."""
    ws, part = tl.arange(0, BW), WIDTH * (K + 2 + 2 * T) + T
    tl.store(d_weight + ws, summed(sums + K * WIDTH, parts, ws, ws < WIDTH, part, BP), mask=ws < WIDTH)
    offsets = summed(sums + (K + 1) * WIDTH, parts, ws, ws < WIDTH, part, BP)
    tl.store(d_bias + ws, offsets, mask=ws < WIDTH)
    for k in tl.static_range(K):
        total = summed(sums + k * WIDTH, parts, ws, ws < WIDTH, part, BP)
        tl.store(d_g3 + k * WIDTH + ws, total, mask=ws < WIDTH)
    # One row of BW · BT numbers, because sums over parts that are loaded one after the other would be slow.
    flat = tl.arange(0, BW * BT)
    w, t = flat // BT, flat % BT
    inside, at = (w < WIDTH) & (t < T), w * T + t
    slope = summed(sums + K * WIDTH, parts, w, inside, part, BP)
    offset = summed(sums + (K + 1) * WIDTH, parts, w, inside, part, BP)
    with_s = summed(sums + (K + 2) * WIDTH, parts, at, inside, part, BP)
    normal_s = summed(sums + (K + 2 + T) * WIDTH, parts, at, inside, part, BP)
    only_s = summed(sums + (K + 2 + 2 * T) * WIDTH, parts, t, inside, part, BP)
    scale = tl.load(weight + w, mask=inside, other=0.0).to(tl.float32)
    scale = scale / tl.sqrt(tl.load(var + w, mask=inside, other=1.0) + eps)
    d = scale * (with_s - (offset * only_s + slope * normal_s) / (tl.cast(N, tl.float32) * C))
    tl.store(d_g0 + at, d, mask=inside)


@triton.jit
def _gradients_kernel(
    s, d_gate, d_kernel, gate, kernel, u, dn, d_gate_clip, d_kernel_clip,
    l0, l_mean, l_var, l_weight, l_bias, l_sums, g0, g_mean, g_var, g_weight, g_bias, g3, g_sums,
    ds, d_l0, d_l_weight, d_l_bias, d_l3, d_g0, d_g_weight, d_g_bias, d_g3,
    N, T, C, HIDDEN, WIDTH, l_parts, g_parts, tiles_h, tiles_c, l_eps, g_eps,
    LK: tl.constexpr, K: tl.constexpr, BM: tl.constexpr, BH: tl.constexpr, BC: tl.constexpr,
    BT: tl.constexpr, BW: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    # The programs for weights come first, because they take longest.
    pid, weights = tl.program_id(0), tiles_h * tiles_c
    if pid == 0:
        _global_weights(
            g_sums, g_parts, g_var, g_weight, d_g0, d_g_weight, d_g_bias, d_g3, N, T, C, WIDTH, g_eps,
            K, BT, BW, BP,
        )  # fmt: skip
    elif pid <= weights:
        _local_weights(
            s, d_gate, d_gate_clip, gate, u, dn, l_sums, l_parts, l_mean, l_var, l_weight, l_bias,
            d_l0, d_l_weight, d_l_bias, d_l3, (pid - 1) // tiles_c, (pid - 1) % tiles_c, N * T, T, C, HIDDEN,
            l_eps, LK, BM, BH, BC, BP,
        )  # fmt: skip
    else:
        pid -= 1 + weights
        _squeeze_gradient(
            s, ds, u, dn, l_sums, l_parts, l_mean, l_var, l_weight, l_bias, l0,
            g0, g_mean, g_var, g_weight, g_bias, g3, g_sums, g_parts, kernel, d_kernel, d_kernel_clip,
            pid // tiles_c, pid % tiles_c, N, T, C, HIDDEN, WIDTH, l_eps, g_eps, LK, K, BH, BC, BT, BW, BP,
        )  # fmt: skip


@torch.library.custom_op("tanet::branches_gradients", mutates_args=())
def branches_gradients_triton(
    d_gate: torch.Tensor,
    d_kernel: torch.Tensor,
    s: torch.Tensor,
    outputs: list[torch.Tensor],
    g: list[torch.Tensor],
    g_eps: float,
    l: list[torch.Tensor],  # noqa: E741
    l_eps: float,
) -> list[torch.Tensor]:
    """Compute the gradients of `branches_triton`.

    Args:
        d_gate: gradient of the gate, [N, T, C].
        d_kernel: gradient of the kernel, [N, K, C].
        s: as for `branches_triton`.
        outputs: what `branches_triton` returned.
        g, g_eps, l, l_eps: as for `branches_triton`.

    Returns:
        The gradient of s in its dtype, and in float32 those of the four weights in `g`, and of the four
        weights in `l`.
    """
    s, (g, l) = s.contiguous(), ([weight.contiguous() for weight in branch] for branch in (g, l))  # noqa: E741
    gate, kernel, u, g_mean, g_var, l_mean, l_var = outputs
    (clips, frames, channels), (width, hidden) = gate.shape, (g[0].shape[0], l[0].shape[0])
    block = blocks(channels, hidden, width, frames)
    tiles_c, tiles_h = triton.cdiv(channels, block["BC"]), triton.cdiv(hidden, block["BH"])
    rows, taps = triton.cdiv(clips * frames, block["BM"]), kernel.shape[1]
    per_part, parts = parts_of_clips(clips, tiles_c)
    d_gate, d_kernel = (d if d.stride()[1:] == (channels, 1) else d.contiguous() for d in (d_gate, d_kernel))

    def new(*shape: int) -> torch.Tensor:
        return torch.empty(*shape, dtype=torch.float32, device=s.device)

    dn, l_sums = new(clips * frames, hidden), new(rows, 2, hidden)
    g_sums = new(parts, width * (taps + 2 + 2 * frames) + frames)
    ds, d_g, d_l = torch.empty_like(s), [new(*w.shape) for w in g], [new(*w.shape) for w in l]
    maps = (s, d_gate, d_kernel, gate, kernel, u)
    strides, sizes = (d_gate.stride(0), d_kernel.stride(0)), (clips, frames, channels, hidden, width)
    local, wide = (l_mean, l_var, l[1], l[2]), (g[0], g_mean, g_var, *g[1:])
    with device_of(s):
        _sums_kernel[(rows * tiles_h + parts,)](
            *maps, *strides, *local, l[3], dn, l_sums, *wide, g_sums,
            *sizes, tiles_h, rows * tiles_h, tiles_c, per_part, l_eps, g_eps,
            K=taps, **block, **LAUNCH,
        )  # fmt: skip
        _gradients_kernel[(1 + tiles_h * tiles_c + clips * tiles_c,)](
            *maps, dn, *strides, l[0], *local, l_sums, *wide, g_sums, ds, *d_l, *d_g,
            *sizes, rows, parts, tiles_h, tiles_c, l_eps, g_eps,
            LK=l[0].shape[2], K=taps, **block, BP=max(1, SUMMED // (block["BW"] * block["BT"])),
            num_warps=8, num_stages=2,
        )  # fmt: skip
    return [ds, *d_g, *d_l]


@branches_gradients_triton.register_fake
def _(d_gate, d_kernel, s, outputs, g, g_eps, l, l_eps):  # noqa: E741
    new = {"dtype": torch.float32, "device": s.device}
    return [torch.empty_like(s), *(torch.empty(w.shape, **new) for w in (*g, *l))]

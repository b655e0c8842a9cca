"""Gradients of the kernel θ, gate g, scale s and shift b of the temporal adaptive convolution.

    a_t = act(s · X_t + b)                     dZ_t = Σ_k θ_k dY_{t-k+h},  h = K//2
    dθ_k = Σ_t <dY_{t-k+h}, g_t a_t>           dg_t = <dZ_t, a_t>
    ds = Σ_t <g_t dZ_t act', X_t>              db = Σ_t <g_t dZ_t act', 1>

<A, B> is the sum of A · B over the H·W positions. For K = 3, dY and X are read only once, because
neighbouring frames stay in registers. Meanwhile, the next frames are prefetched to shared memory.

Each program writes partial sums over some of the positions. The partial sums are added in a fixed order, so
results do not change from run to run.
"""

import torch
import triton
import triton.language as tl

from tanet.ops.common.filter_inputs import FilterInputs
from tanet.ops.common.triton_tiles import (
    activate,
    activation_grad,
    device_of,
    kernel_arguments,
    load_frame,
    load_per_channel,
    sizes,
    tile_offsets,
    tile_shape,
    tiles_per_program,
)

TILE = {"elements": 512, "most": 128}
WARPS = 1  # warps per program; a single warp never has to wait for other warps
PROGRAMS_PER_SM = 8  # a streaming multiprocessor (SM) has registers for this many programs
STAGES = 4  # depth of the load pipeline, in loop steps, including the current step


@triton.jit
def _sum_rows(values, R: tl.constexpr):
    """Return R sums per channel, [BP, BC] → [R, BC]: sum r adds the positions r, r + R, r + 2R, ….

    One thread holds all addends of a sum, so no data is exchanged between threads.
    """
    return tl.sum(tl.reshape(values, [values.shape[0] // R, R, values.shape[1]]), 0)


@triton.jit
def _sum_three_taps(
    dy, x, d_theta, theta, gate, s, b, n, first, last, cs, weights, gates,
    T, C, PC, theta_k, gate_t, GATE: tl.constexpr, AFFINE: tl.constexpr, ACT: tl.constexpr,
    BT: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr, R: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Compute the sums at the top of this file for K = 3, reading dY and X only once.

    The gradient of θ is stored. The sums for gate, scale and shift are returned.
    """
    ts = tl.arange(0, BT)[:, None]
    d_gate = tl.zeros([BT, BC], tl.float32)
    d_scale = tl.zeros([R, BC], tl.float32)
    d_shift = tl.zeros([R, BC], tl.float32)
    w0 = load_per_channel(theta, weights, cs < C, 0.0, True)
    w1 = load_per_channel(theta, weights + theta_k, cs < C, 0.0, True)
    w2 = load_per_channel(theta, weights + 2 * theta_k, cs < C, 0.0, True)
    d0 = tl.zeros([R, BC], tl.float32)
    d1 = tl.zeros([R, BC], tl.float32)
    d2 = tl.zeros([R, BC], tl.float32)
    offsets, inside = tile_offsets(first, last, cs, C, BP)
    before = tl.zeros([BP, BC], tl.float32)
    now = load_frame(dy, n, 0, T, PC, offsets, inside).to(tl.float32)
    # Use one loop over all frames of all tiles: nested loops would empty the load pipeline after each tile.
    for i in tl.range(0, tl.cdiv(last - first, BP) * T, num_stages=STAGES):
        t, next_t = i % T, (i + 1) % T
        offsets, inside = tile_offsets(first + i // T * BP, last, cs, C, BP)
        raw = load_frame(x, n, t, T, PC, offsets, inside).to(tl.float32)
        offsets, inside = tile_offsets(first + (i + 1) // T * BP, last, cs, C, BP)
        ahead = load_frame(dy, n, next_t, T, PC, offsets, inside).to(tl.float32)
        after = tl.where(next_t > 0, ahead, 0.0)  # zero if `ahead` is the first frame of the next tile
        pre = raw * s + b
        g = load_per_channel(gate, gates + t * gate_t, cs < C, 1.0, GATE)
        a = activate(pre, ACT)
        dz = w0 * after + w1 * now + w2 * before
        if GATE:
            d_gate += tl.where(ts == t, tl.sum(_sum_rows(dz * a, R), 0)[None, :], 0.0)
        z = g * a
        d0 += _sum_rows(after * z, R)
        d1 += _sum_rows(now * z, R)
        d2 += _sum_rows(before * z, R)
        if AFFINE:
            dp = g * dz * activation_grad(pre, ACT)
            d_scale += _sum_rows(dp * raw, R)
            d_shift += _sum_rows(dp, R)
        before = tl.where(next_t > 0, now, 0.0)
        now = ahead
    tl.store(d_theta, tl.sum(d0, 0), mask=cs < C)
    tl.store(d_theta + C, tl.sum(d1, 0), mask=cs < C)
    tl.store(d_theta + 2 * C, tl.sum(d2, 0), mask=cs < C)
    return d_gate, d_scale, d_shift


@triton.jit
def _sum_taps(
    dy, x, d_theta, theta, gate, s, b, n, first, last, cs, weights, gates,
    T, C, PC, theta_k, gate_t, K: tl.constexpr, GATE: tl.constexpr, AFFINE: tl.constexpr,
    ACT: tl.constexpr, BT: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    """Compute the same sums as `_sum_three_taps`, but for any K. dY and X are read once per tap."""
    ts = tl.arange(0, BT)[:, None]
    d_gate = tl.zeros([BT, BC], tl.float32)
    d_scale = tl.zeros([R, BC], tl.float32)
    d_shift = tl.zeros([R, BC], tl.float32)
    for k in tl.static_range(K):
        d = tl.zeros([R, BC], tl.float32)
        for start in range(first, last, BP):
            offsets, inside = tile_offsets(start, last, cs, C, BP)
            for t in range(T):
                raw = load_frame(x, n, t, T, PC, offsets, inside).to(tl.float32)
                pre = raw * s + b
                g = load_per_channel(gate, gates + t * gate_t, cs < C, 1.0, GATE)
                w = load_per_channel(theta, weights + k * theta_k, cs < C, 0.0, True)
                a = activate(pre, ACT)
                grad = load_frame(dy, n, t - k + K // 2, T, PC, offsets, inside).to(tl.float32)
                d += _sum_rows(g * a * grad, R)
                if GATE:
                    d_gate += tl.where(ts == t, tl.sum(_sum_rows(w * grad * a, R), 0)[None, :], 0.0)
                if AFFINE:
                    dp = g * w * grad * activation_grad(pre, ACT)
                    d_scale += _sum_rows(dp * raw, R)
                    d_shift += _sum_rows(dp, R)
        tl.store(d_theta + k * C, tl.sum(d, 0), mask=cs < C)
    return d_gate, d_scale, d_shift


@triton.jit
def _backward_sums_kernel(
    dy, x, sums, theta, gate, scale, shift, T, P, C, theta_c, theta_k, gate_c, gate_t, per_part, rows,
    K: tl.constexpr, GATE: tl.constexpr, AFFINE: tl.constexpr, ACT: tl.constexpr,
    BT: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr, R: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(1)
    tiles_c = tl.cdiv(C, BC)
    part = tl.program_id(0) // tiles_c
    first = part * per_part
    last = tl.minimum(first + per_part, P)
    cs = tl.program_id(0) % tiles_c * BC + tl.arange(0, BC)
    ts = tl.arange(0, BT)[:, None]
    PC = P * C
    s = load_per_channel(scale, cs, cs < C, 1.0, AFFINE)
    b = load_per_channel(shift, cs, cs < C, 0.0, AFFINE)
    weights = n.to(tl.int64) * C * K + cs * theta_c
    gates = n.to(tl.int64) * C * T + cs * gate_c
    # The partial sums are [parts, N, rows, C]. Each part covers some of the positions of a map.
    # `rows` is the number of sums for gate, kernel, scale and shift, which are stored in this order.
    sums += (part * tl.num_programs(1) + n).to(tl.int64) * rows * C + cs
    d_theta = sums
    if GATE:
        d_theta += T * C
    if K == 3:
        d_gate, d_scale, d_shift = _sum_three_taps(
            dy, x, d_theta, theta, gate, s, b, n, first, last, cs, weights, gates,
            T, C, PC, theta_k, gate_t, GATE, AFFINE, ACT, BT, BP, BC, R, STAGES,
        )  # fmt: skip
    else:
        d_gate, d_scale, d_shift = _sum_taps(
            dy, x, d_theta, theta, gate, s, b, n, first, last, cs, weights, gates,
            T, C, PC, theta_k, gate_t, K, GATE, AFFINE, ACT, BT, BP, BC, R,
        )  # fmt: skip
    if GATE:
        tl.store(sums[None, :] + ts * C, d_gate, mask=(ts < T) & (cs[None, :] < C))
    if AFFINE:
        tl.store(d_theta + K * C, tl.sum(d_scale, 0), mask=cs < C)
        tl.store(d_theta + (K + 1) * C, tl.sum(d_shift, 0), mask=cs < C)


def _count_sums(
    x: torch.Tensor, kernel: torch.Tensor, gate: torch.Tensor | None, scale: torch.Tensor | None
) -> int:
    """Return how many sums `adaptive_conv_sums` computes for each clip and channel."""
    clips, _, taps = kernel.shape
    return taps + (0 if gate is None else x.shape[0] // clips) + (0 if scale is None else 2)


@torch.library.custom_op("tanet::adaptive_conv_sums", mutates_args=())
def adaptive_conv_sums(
    dy: torch.Tensor,
    x: torch.Tensor,
    kernel: torch.Tensor,
    gate: torch.Tensor | None,
    scale: torch.Tensor | None,
    shift: torch.Tensor | None,
    act: str,
) -> torch.Tensor:
    """Compute the sums from which the gradients of gate, kernel, scale and shift follow, in float32.

    The result is [N, T + K + 2, C]. Its rows are T sums for the gate, K for the kernel, one for scale and one
    for shift. If an input is None, its rows are left out.
    """
    x, dy = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, dy))
    clips, channels, _, frames, places = sizes(x, kernel)
    block_p, block_c = tile_shape(channels, **TILE)
    tiles_c = triton.cdiv(channels, block_c)
    # At least one tile is needed, because the sums must be set to zero even for empty maps.
    tiles_p = max(1, triton.cdiv(places, block_p))
    share = tiles_per_program(tiles_p, of=clips * tiles_c, resident=PROGRAMS_PER_SM, device=x.device)
    parts = triton.cdiv(tiles_p, share)
    # Number of positions that a program loads with one instruction, which loads 16 bytes per thread.
    at_a_time = min(block_p, WARPS * 32 * 16 // (block_c * x.itemsize))
    rows = _count_sums(x, kernel, gate, scale)
    sums = torch.empty(parts, clips, rows, channels, device=x.device, dtype=torch.float32)
    inputs, options = kernel_arguments(FilterInputs(x, kernel, gate, scale, shift, act))
    with device_of(x):
        _backward_sums_kernel[(parts * tiles_c, clips)](
            dy, x, sums, *inputs, share * block_p, rows, **options, BT=triton.next_power_of_2(frames),
            BP=block_p, BC=block_c, R=at_a_time, STAGES=STAGES, num_warps=WARPS,
        )  # fmt: skip
    return sums.sum(0) if parts > 1 else sums[0]


@adaptive_conv_sums.register_fake
def _(dy, x, kernel, gate, scale, shift, act):
    clips, channels, _ = kernel.shape
    return x.new_empty((clips, _count_sums(x, kernel, gate, scale), channels), dtype=torch.float32)


def gradients(dy: torch.Tensor, inputs: FilterInputs) -> tuple[torch.Tensor | None, ...]:
    """Return the gradients of kernel, gate, scale and shift. If an input is None, its gradient is None."""
    _, kernel, gate, scale, shift, _ = inputs
    sums = adaptive_conv_sums(dy, *inputs)
    taps, affine = kernel.shape[2], 0 if scale is None else 2
    d_gate, d_kernel, d_affine = sums.split((sums.shape[1] - taps - affine, taps, affine), dim=1)
    return (
        d_kernel.mT.to(kernel.dtype),
        None if gate is None else d_gate.mT.to(gate.dtype),
        None if scale is None else d_affine[:, 0].sum(0).to(scale.dtype),
        None if shift is None else d_affine[:, 1].sum(0).to(shift.dtype),
    )

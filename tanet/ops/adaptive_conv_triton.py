"""The temporal adaptive convolution as two fused kernels, equal to `adaptive_conv.reference`.

    a_t = act(s · X_t + b)                     dZ_t = Σ_k θ_k dY_{t-k+h}
    Z_t = g_t · a_t                            dθ_k = Σ_t <dY_{t-k+h}, Z_t>,    dg_t = <dZ_t, a_t>
    Y_t = Σ_k θ_k Z_{t+k-h},  h = K//2         dp_t = g_t dZ_t act'(s · X_t + b),    dX_t = s dp_t
                                               ds = Σ_t <dp_t, X_t>,    db = Σ_t <dp_t, 1>

<,> sums over H·W. A program owns a tile of BP places × BC channels of one clip (channels-last) and
walks along its T frames. For K = 3 the frames beside stay in registers: forward reads X and writes
Y, backward reads dY and X and writes dX, nothing twice. Sums over places leave one part a tile,
added up in a fixed order, so that a result does not change from run to run. Arithmetic is in
float32 for all maps.
"""

import torch
import triton
import triton.language as tl

ACTS: dict[str, int] = {"none": 0, "relu": 1, "relu6": 2}


@triton.jit
def _frame(x, n, t, T, PC, offsets, inside):
    """Frame t of clip n in a tile [BP, BC], as it is; zeros outside the clip."""
    start = (n * T + t).to(tl.int64) * PC
    return tl.load(x + start + offsets, mask=inside & (t >= 0) & (t < T), other=0.0)


@triton.jit
def _channels(values, at, valid, otherwise: tl.constexpr, GIVEN: tl.constexpr):
    """One number a channel [BC], float32; `otherwise` where there is no such input."""
    if GIVEN:
        return tl.load(values + at, mask=valid, other=0.0).to(tl.float32)[None, :]
    return tl.where(valid, otherwise, 0.0)[None, :]


@triton.jit
def _activate(pre, ACT: tl.constexpr):
    if ACT > 0:
        pre = tl.maximum(pre, 0.0)
    if ACT == 2:
        pre = tl.minimum(pre, 6.0)
    return pre


@triton.jit
def _passes(pre, ACT: tl.constexpr):
    """The derivative of the activation, 0 or 1."""
    passed = tl.full(pre.shape, 1.0, tl.float32)
    if ACT == 1:
        passed = (pre > 0.0).to(tl.float32)
    if ACT == 2:
        passed = ((pre > 0.0) & (pre < 6.0)).to(tl.float32)
    return passed


@triton.jit
def _gated(raw, gate, n, t, T, cs, C, gate_c, gate_t, s, b, GATE: tl.constexpr, ACT: tl.constexpr):
    """Z_t of frame t in a tile; zeros outside the clip."""
    valid = (cs < C) & (t >= 0) & (t < T)
    # Without a gate this still is a gate of ones, which closes outside the clip, where act(b) is not zero.
    g = _channels(gate, n.to(tl.int64) * C * T + cs * gate_c + t * gate_t, valid, 1.0, GATE)
    return g * _activate(raw.to(tl.float32) * s + b, ACT)


@triton.jit
def _forward(
    x, y, theta, gate, scale, shift, T, P, C, theta_c, theta_k, gate_c, gate_t,
    K: tl.constexpr, GATE: tl.constexpr, AFFINE: tl.constexpr, ACT: tl.constexpr,
    BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    # Clips in reverse: the maps were squeezed in order just before, and the last are still in the cache.
    n = tl.num_programs(1) - 1 - tl.program_id(1)
    tiles_c = tl.cdiv(C, BC)
    cs = tl.program_id(0) % tiles_c * BC + tl.arange(0, BC)
    ps = tl.program_id(0) // tiles_c * BP + tl.arange(0, BP)
    inside = (ps[:, None] < P) & (cs[None, :] < C)
    offsets = ps[:, None] * C + cs[None, :]
    PC = P * C
    s = _channels(scale, cs, cs < C, 1.0, AFFINE)
    b = _channels(shift, cs, cs < C, 0.0, AFFINE)
    weights = n.to(tl.int64) * C * K + cs * theta_c
    if K == 3:
        w0 = _channels(theta, weights, cs < C, 0.0, True)
        w1 = _channels(theta, weights + theta_k, cs < C, 0.0, True)
        w2 = _channels(theta, weights + 2 * theta_k, cs < C, 0.0, True)
        before = tl.zeros([BP, BC], tl.float32)
        now = _frame(x, n, 0, T, PC, offsets, inside)
        now = _gated(now, gate, n, 0, T, cs, C, gate_c, gate_t, s, b, GATE, ACT)
        ahead = _frame(x, n, 1, T, PC, offsets, inside)
        for t in range(T):
            raw = ahead
            ahead = _frame(x, n, t + 2, T, PC, offsets, inside)  # on its way while this frame is worked on
            after = _gated(raw, gate, n, t + 1, T, cs, C, gate_c, gate_t, s, b, GATE, ACT)
            out = w0 * before + w1 * now + w2 * after
            start = (n * T + t).to(tl.int64) * PC
            tl.store(y + start + offsets, out.to(y.dtype.element_ty), mask=inside)
            before, now = now, after
    else:
        for t in range(T):
            out = tl.zeros([BP, BC], tl.float32)
            for k in tl.static_range(K):
                at = t + k - K // 2
                raw = _frame(x, n, at, T, PC, offsets, inside)
                z = _gated(raw, gate, n, at, T, cs, C, gate_c, gate_t, s, b, GATE, ACT)
                out += _channels(theta, weights + k * theta_k, cs < C, 0.0, True) * z
            start = (n * T + t).to(tl.int64) * PC
            tl.store(y + start + offsets, out.to(y.dtype.element_ty), mask=inside)


@triton.jit
def _backward(
    dy, x, dx, sums, theta, gate, scale, shift, T, P, C, theta_c, theta_k, gate_c, gate_t,
    K: tl.constexpr, GATE: tl.constexpr, AFFINE: tl.constexpr, ACT: tl.constexpr,
    BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(1)
    tiles_c = tl.cdiv(C, BC)
    tile_p = tl.program_id(0) // tiles_c
    cs = tl.program_id(0) % tiles_c * BC + tl.arange(0, BC)
    ps = tile_p * BP + tl.arange(0, BP)
    inside = (ps[:, None] < P) & (cs[None, :] < C)
    offsets = ps[:, None] * C + cs[None, :]
    PC = P * C
    s = _channels(scale, cs, cs < C, 1.0, AFFINE)
    b = _channels(shift, cs, cs < C, 0.0, AFFINE)
    weights = n.to(tl.int64) * C * K + cs * theta_c
    # Partial sums [tiles of places, N, T + K + 2, C]: rows of the gate, the kernel, the scale, the shift.
    sums += (tile_p * tl.num_programs(1) + n).to(tl.int64) * (T + K + 2) * C + cs
    d_scale = tl.zeros([BP, BC], tl.float32)
    d_shift = tl.zeros([BP, BC], tl.float32)
    if K == 3:
        w0 = _channels(theta, weights, cs < C, 0.0, True)
        w1 = _channels(theta, weights + theta_k, cs < C, 0.0, True)
        w2 = _channels(theta, weights + 2 * theta_k, cs < C, 0.0, True)
        d0 = tl.zeros([BP, BC], tl.float32)
        d1 = tl.zeros([BP, BC], tl.float32)
        d2 = tl.zeros([BP, BC], tl.float32)
        before = tl.zeros([BP, BC], tl.float32)
        now = _frame(dy, n, 0, T, PC, offsets, inside).to(tl.float32)
        ahead_dy = _frame(dy, n, 1, T, PC, offsets, inside)
        ahead_x = _frame(x, n, 0, T, PC, offsets, inside)
        for t in range(T):
            after = ahead_dy.to(tl.float32)
            raw = ahead_x.to(tl.float32)
            ahead_dy = _frame(dy, n, t + 2, T, PC, offsets, inside)
            ahead_x = _frame(x, n, t + 1, T, PC, offsets, inside)
            pre = raw * s + b
            a = _activate(pre, ACT)
            g = _channels(gate, n.to(tl.int64) * C * T + cs * gate_c + t * gate_t, cs < C, 1.0, GATE)
            dz = w0 * after + w1 * now + w2 * before
            d0 += after * (g * a)
            d1 += now * (g * a)
            d2 += before * (g * a)
            dp = g * dz * _passes(pre, ACT)
            start = (n * T + t).to(tl.int64) * PC
            tl.store(dx + start + offsets, (dp * s).to(dx.dtype.element_ty), mask=inside)
            if GATE:
                tl.store(sums + t * C, tl.sum(dz * a, 0), mask=cs < C)
            if AFFINE:
                d_scale += dp * raw
                d_shift += dp
            before, now = now, after
        tl.store(sums + T * C, tl.sum(d0, 0), mask=cs < C)
        tl.store(sums + (T + 1) * C, tl.sum(d1, 0), mask=cs < C)
        tl.store(sums + (T + 2) * C, tl.sum(d2, 0), mask=cs < C)
    else:
        for t in range(T):
            dz = tl.zeros([BP, BC], tl.float32)
            for k in tl.static_range(K):
                w = _channels(theta, weights + k * theta_k, cs < C, 0.0, True)
                dz += w * _frame(dy, n, t - k + K // 2, T, PC, offsets, inside).to(tl.float32)
            raw = _frame(x, n, t, T, PC, offsets, inside).to(tl.float32)
            pre = raw * s + b
            g = _channels(gate, n.to(tl.int64) * C * T + cs * gate_c + t * gate_t, cs < C, 1.0, GATE)
            dp = g * dz * _passes(pre, ACT)
            start = (n * T + t).to(tl.int64) * PC
            tl.store(dx + start + offsets, (dp * s).to(dx.dtype.element_ty), mask=inside)
            if GATE:
                tl.store(sums + t * C, tl.sum(dz * _activate(pre, ACT), 0), mask=cs < C)
            if AFFINE:
                d_scale += dp * raw
                d_shift += dp
        for k in tl.static_range(K):
            d = tl.zeros([BP, BC], tl.float32)
            for t in range(T):
                raw = _frame(x, n, t, T, PC, offsets, inside)
                z = _gated(raw, gate, n, t, T, cs, C, gate_c, gate_t, s, b, GATE, ACT)
                d += z * _frame(dy, n, t - k + K // 2, T, PC, offsets, inside).to(tl.float32)
            tl.store(sums + (T + k) * C, tl.sum(d, 0), mask=cs < C)
    if AFFINE:
        tl.store(sums + (T + K) * C, tl.sum(d_scale, 0), mask=cs < C)
        tl.store(sums + (T + K + 1) * C, tl.sum(d_shift, 0), mask=cs < C)


@torch.library.custom_op("tanet::adaptive_conv", mutates_args=())
def adaptive_conv_triton(
    x: torch.Tensor,
    kernel: torch.Tensor,
    gate: torch.Tensor | None,
    scale: torch.Tensor | None,
    shift: torch.Tensor | None,
    act: str,
) -> torch.Tensor:
    """`adaptive_conv.adaptive_conv` on a GPU; x is best in channels-last, else it is copied first."""
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.empty_like(x)
    clips, channels, taps, frames, places = _sizes(x, kernel)
    block_p, block_c, warps = _tile(channels, elements=2048, most=64)
    grid = (triton.cdiv(places, block_p) * triton.cdiv(channels, block_c), clips)
    inputs, options = _arguments(x, kernel, gate, scale, shift, act)
    _forward[grid](x, y, *inputs, **options, BP=block_p, BC=block_c, num_warps=warps)
    return y


@torch.library.custom_op("tanet::adaptive_conv_backward", mutates_args=())
def adaptive_conv_backward(
    dy: torch.Tensor,
    x: torch.Tensor,
    kernel: torch.Tensor,
    gate: torch.Tensor | None,
    scale: torch.Tensor | None,
    shift: torch.Tensor | None,
    act: str,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradient of x, and the sums [N, T + K + 2, C] for gate, kernel, scale and shift, in float32."""
    x, dy = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, dy))
    dx = torch.empty_like(x)
    clips, channels, taps, frames, places = _sizes(x, kernel)
    # Five sums of a tile stay in registers: a small tile leaves room for more programs at a time.
    block_p, block_c, warps = _tile(channels, elements=512 if scale is not None else 1024, most=32)
    tiles_p = triton.cdiv(places, block_p)
    sums = torch.empty(tiles_p, clips, frames + taps + 2, channels, device=x.device)
    grid = (tiles_p * triton.cdiv(channels, block_c), clips)
    inputs, options = _arguments(x, kernel, gate, scale, shift, act)
    _backward[grid](dy, x, dx, sums, *inputs, **options, BP=block_p, BC=block_c, num_warps=warps)
    return dx, sums.sum(0)


@adaptive_conv_triton.register_fake
def _(x, kernel, gate, scale, shift, act):
    return torch.empty_like(x, memory_format=torch.channels_last)


@adaptive_conv_backward.register_fake
def _(dy, x, kernel, gate, scale, shift, act):
    clips, channels, taps = kernel.shape
    rows = x.shape[0] // clips + taps + 2
    dx = torch.empty_like(x, memory_format=torch.channels_last)
    return dx, x.new_empty((clips, rows, channels), dtype=torch.float32)


def _setup(ctx, inputs, output):
    *tensors, ctx.act = inputs
    ctx.save_for_backward(*tensors)


def _gradients(ctx, dy):
    x, kernel, gate, scale, shift = ctx.saved_tensors
    dx, sums = torch.ops.tanet.adaptive_conv_backward(dy, x, kernel, gate, scale, shift, ctx.act)
    taps = kernel.shape[2]
    frames = sums.shape[1] - taps - 2
    d_gate, d_kernel, d_affine = sums.split((frames, taps, 2), dim=1)
    return (
        dx,
        d_kernel.mT.to(kernel.dtype),
        None if gate is None else d_gate.mT.to(gate.dtype),
        None if scale is None else d_affine[:, 0].sum(0).to(scale.dtype),
        None if shift is None else d_affine[:, 1].sum(0).to(shift.dtype),
        None,
    )


adaptive_conv_triton.register_autograd(_gradients, setup_context=_setup)


def _sizes(x: torch.Tensor, kernel: torch.Tensor) -> tuple[int, int, int, int, int]:
    """N, C, K, T and the number of places H·W."""
    clips, channels, taps = kernel.shape
    return clips, channels, taps, x.shape[0] // clips, x.shape[2] * x.shape[3]


def _arguments(x, kernel, gate, scale, shift, act):
    """What both kernels are told about the inputs."""
    clips, channels, taps, frames, places = _sizes(x, kernel)
    # A clip's numbers lie together, in whatever order: the kernels know the order by its strides.
    kernel = kernel if kernel.stride(0) == channels * taps else kernel.contiguous()
    if gate is not None and gate.stride(0) != channels * frames:
        gate = gate.contiguous()
    strides = (0, 0) if gate is None else gate.stride()[1:]
    sizes = (frames, places, channels, *kernel.stride()[1:], *strides)
    options = {"K": taps, "GATE": gate is not None, "AFFINE": scale is not None, "ACT": ACTS[act]}
    others = [x if tensor is None else tensor.contiguous() for tensor in (scale, shift)]
    return (kernel, x if gate is None else gate, *others, *sizes), options


def _tile(channels: int, *, elements: int, most: int) -> tuple[int, int, int]:
    """Places and channels of a tile of so many elements, and the warps that work on it."""
    block_c = next((size for size in (64, 32, 16) if size <= most and channels % size == 0), 32)
    return elements // block_c, block_c, 4 if elements > 1024 else 2

"""The temporal adaptive convolution as a fused kernel, equal to `adaptive_conv.reference`.

    Z_t = g_t · act(s · X_t + b)
    Y_t = Σ_k θ_k Z_{t+k-h},  h = K//2

A program owns a tile of one clip and walks along its T frames, or along some of them where there are few
clips. For K = 3 the frames beside stay in registers: X is read once, Y written once; the next frames are on
their way to shared memory. Arithmetic is in float32 for all maps.
"""

import torch
import triton
import triton.language as tl

from tanet.ops.adaptive_conv_backward_triton import gradients
from tanet.ops.tiles_triton import (
    activate,
    arguments,
    chunk,
    device_of,
    frame,
    per_channel,
    sizes,
    tile,
    tile_at,
)

TILE = {"elements": 2048, "most": 64}
WARPS = 4
STAGES = 4  # frames that are on their way at a time, the one worked on included


@triton.jit
def _gated(raw, gate, n, t, T, cs, C, gate_c, gate_t, s, b, GATE: tl.constexpr, ACT: tl.constexpr):
    """Z_t of frame t in a tile; zeros outside the clip."""
    valid = (cs < C) & (t >= 0) & (t < T)
    # Without a gate this still is a gate of ones, which closes outside the clip, where act(b) is not zero.
    g = per_channel(gate, n.to(tl.int64) * C * T + cs * gate_c + t * gate_t, valid, 1.0, GATE)
    return g * activate(raw.to(tl.float32) * s + b, ACT)


@triton.jit
def _forward(
    x, y, theta, gate, scale, shift, T, P, C, theta_c, theta_k, gate_c, gate_t, per_chunk,
    K: tl.constexpr, GATE: tl.constexpr, AFFINE: tl.constexpr, ACT: tl.constexpr,
    BP: tl.constexpr, BC: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    # Clips in reverse: the maps were squeezed in order just before, and the last are still in the cache.
    n = tl.num_programs(1) - 1 - tl.program_id(1)
    first = tl.program_id(2) * per_chunk
    last = tl.minimum(first + per_chunk, T)
    tiles_c = tl.cdiv(C, BC)
    cs = tl.program_id(0) % tiles_c * BC + tl.arange(0, BC)
    offsets, inside = tile_at(tl.program_id(0) // tiles_c * BP, P, cs, C, BP)
    PC = P * C
    s = per_channel(scale, cs, cs < C, 1.0, AFFINE)
    b = per_channel(shift, cs, cs < C, 0.0, AFFINE)
    weights = n.to(tl.int64) * C * K + cs * theta_c
    if K == 3:
        w0 = per_channel(theta, weights, cs < C, 0.0, True)
        w1 = per_channel(theta, weights + theta_k, cs < C, 0.0, True)
        w2 = per_channel(theta, weights + 2 * theta_k, cs < C, 0.0, True)
        raw = frame(x, n, first - 1, T, PC, offsets, inside)
        before = _gated(raw, gate, n, first - 1, T, cs, C, gate_c, gate_t, s, b, GATE, ACT)
        raw = frame(x, n, first, T, PC, offsets, inside)
        z = _gated(raw, gate, n, first, T, cs, C, gate_c, gate_t, s, b, GATE, ACT)
        # Y_t and Y_{t+1} as far as Z_t goes. A frame that is handed on as it is keeps Triton from loading
        # ahead.
        this, following = w0 * before + w1 * z, w0 * z
        for t in tl.range(first, last, num_stages=STAGES):
            raw = frame(x, n, t + 1, T, PC, offsets, inside)
            z = _gated(raw, gate, n, t + 1, T, cs, C, gate_c, gate_t, s, b, GATE, ACT)
            out = this + w2 * z
            start = (n * T + t).to(tl.int64) * PC
            tl.store(y + start + offsets, out.to(y.dtype.element_ty), mask=inside)
            this, following = following + w1 * z, w0 * z
    else:
        for t in range(first, last):
            out = tl.zeros([BP, BC], tl.float32)
            for k in tl.static_range(K):
                at = t + k - K // 2
                raw = frame(x, n, at, T, PC, offsets, inside)
                z = _gated(raw, gate, n, at, T, cs, C, gate_c, gate_t, s, b, GATE, ACT)
                out += per_channel(theta, weights + k * theta_k, cs < C, 0.0, True) * z
            start = (n * T + t).to(tl.int64) * PC
            tl.store(y + start + offsets, out.to(y.dtype.element_ty), mask=inside)


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
    clips, channels, _, frames, places = sizes(x, kernel)
    block_p, block_c = tile(channels, **TILE)
    tiles = triton.cdiv(places, block_p) * triton.cdiv(channels, block_c)
    per_chunk = chunk(frames, programs=tiles * clips, device=x.device)
    inputs, options = arguments(x, kernel, gate, scale, shift, act)
    with device_of(x):
        _forward[(tiles, clips, triton.cdiv(frames, per_chunk))](
            x, y, *inputs, per_chunk, **options, BP=block_p, BC=block_c, STAGES=STAGES, num_warps=WARPS
        )
    return y


@adaptive_conv_triton.register_fake
def _(x, kernel, gate, scale, shift, act):
    return torch.empty_like(x, memory_format=torch.channels_last)


def _setup(ctx, inputs, output):
    *tensors, ctx.act = inputs
    ctx.save_for_backward(*tensors)


def _gradients(ctx, dy):
    inputs = (*ctx.saved_tensors, ctx.act)
    needed = any(ctx.needs_input_grad[1:5])
    of_weights = gradients(dy, *inputs) if needed else [None] * 4
    dx = torch.ops.tanet.adaptive_conv_dx(dy, *inputs, None, None, None)
    return dx, *of_weights, None


adaptive_conv_triton.register_autograd(_gradients, setup_context=_setup)

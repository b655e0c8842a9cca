"""Temporal adaptive convolution as a fused kernel, equal to `op.reference`.

    Z_t = g_t · act(s · X_t + b)
    Y_t = Σ_k θ_k Z_{t+k-h},  h = K//2

X is the input, g the gate, s the scale, b the shift and θ the kernel. Each program computes a tile, that is,
some of the positions and channels of one clip. The program walks along the T frames of the clip, or along a
part of the frames if there are few clips. The program keeps the unfinished sums Y in registers, so X is read
once and Y is written once. The next frames are prefetched to shared memory. All arithmetic is in float32.
"""

import torch
import triton
import triton.language as tl

from tanet.ops.adaptive_convolution.triton_backward_maps import adaptive_conv_dx
from tanet.ops.adaptive_convolution.triton_backward_sums import gradients
from tanet.ops.common.filter_inputs import FilterInputs
from tanet.ops.common.triton_tiles import (
    activate,
    device_of,
    kernel_arguments,
    launch_grid,
    load_frame,
    load_per_channel,
    program_tile,
    slide_sums,
    zero_sums,
)


@triton.jit
def _gated(raw, gate, n, t, T, cs, C, gate_c, gate_t, s, b, GATE: tl.constexpr, ACT: tl.constexpr):
    """Return Z_t for one tile of frame t. Z_t is zero if t is outside the clip."""
    valid = (cs < C) & (t >= 0) & (t < T)
    # A frame outside the clip is loaded as zeros, but act(0 + b) may be nonzero. A gate of 0 makes Z_t zero.
    g = load_per_channel(gate, n.to(tl.int64) * C * T + cs * gate_c + t * gate_t, valid, 1.0, GATE)
    return g * activate(raw.to(tl.float32) * s + b, ACT)


@triton.jit
def _forward_kernel(
    x, y, theta, gate, scale, shift, T, P, C, theta_c, theta_k, gate_c, gate_t, per_chunk,
    K: tl.constexpr, GATE: tl.constexpr, AFFINE: tl.constexpr, ACT: tl.constexpr,
    BP: tl.constexpr, BC: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    n, first, last, cs, offsets, inside = program_tile(T, P, C, per_chunk, BP, BC)
    PC = P * C
    s = load_per_channel(scale, cs, cs < C, 1.0, AFFINE)
    b = load_per_channel(shift, cs, cs < C, 0.0, AFFINE)
    weights = n.to(tl.int64) * C * K + cs * theta_c
    thetas = ()
    for k in tl.static_range(K):
        thetas += (load_per_channel(theta, weights + k * theta_k, cs < C, 0.0, True),)
    sums = zero_sums(BP, BC, K)
    for i in tl.static_range(K - 1):
        raw = load_frame(x, n, first + (i - K // 2), T, PC, offsets, inside)
        z = _gated(raw, gate, n, first + (i - K // 2), T, cs, C, gate_c, gate_t, s, b, GATE, ACT)
        sums = slide_sums(sums, thetas, z, K)[1:]
    for t in tl.range(first, last, num_stages=STAGES):
        raw = load_frame(x, n, t + K // 2, T, PC, offsets, inside)
        z = _gated(raw, gate, n, t + K // 2, T, cs, C, gate_c, gate_t, s, b, GATE, ACT)
        sums = slide_sums(sums, thetas, z, K)
        start = (n * T + t).to(tl.int64) * PC
        tl.store(y + start + offsets, sums[0].to(y.dtype.element_ty), mask=inside)
        sums = sums[1:]


@torch.library.custom_op("tanet::adaptive_conv", mutates_args=())
def adaptive_conv_triton(
    x: torch.Tensor,
    kernel: torch.Tensor,
    gate: torch.Tensor | None,
    scale: torch.Tensor | None,
    shift: torch.Tensor | None,
    act: str,
) -> torch.Tensor:
    """Compute `adaptive_conv` on a GPU. If x is not in channels-last, x is copied to that format."""
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.empty_like(x)
    grid, per_chunk, compiled = launch_grid(x, kernel)
    inputs, options = kernel_arguments(FilterInputs(x, kernel, gate, scale, shift, act))
    with device_of(x):
        _forward_kernel[grid](x, y, *inputs, per_chunk, **options, **compiled)
    return y


@adaptive_conv_triton.register_fake
def _(x, kernel, gate, scale, shift, act):
    return torch.empty_like(x, memory_format=torch.channels_last)


def _setup(ctx, inputs, output):
    *tensors, ctx.act = inputs
    ctx.save_for_backward(*tensors)


def _gradients(ctx, dy):
    inputs = FilterInputs(*ctx.saved_tensors, ctx.act)
    needed = any(ctx.needs_input_grad[1:5])
    of_weights = gradients(dy, inputs) if needed else [None] * 4
    dx = adaptive_conv_dx(dy, *inputs, None, None, None)
    return dx, *of_weights, None


adaptive_conv_triton.register_autograd(_gradients, setup_context=_setup)

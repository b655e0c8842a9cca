"""Gradient of the input maps X of the temporal adaptive convolution, in one pass over the maps.

    dZ_t = Σ_k θ_k dY_{t-k+h},  h = K//2
    dX_t = s (g_t dZ_t + e_t) act'(s · X_t + b) + m X_t + n

θ is the kernel, g the gate, s the scale, b the shift and act' the derivative of the activation.

The terms with e, m and n are the gradients of two other operations on the same maps. e comes from the squeeze
and is one number per frame and channel. m and n come from the moments of a BatchNorm and are one number each
per channel. Adding these terms here saves a separate addition of maps. e, m and n depend on the sums of
triton_backward_sums.py, so this pass runs after the sums.

dY is read once. X is read once if there is an activation or a gradient of moments, and otherwise not at all.
"""

import torch
import triton
import triton.language as tl

from tanet.ops.common.filter_inputs import FilterInputs
from tanet.ops.common.triton_tiles import (
    activation_grad,
    device_of,
    kernel_arguments,
    launch_grid,
    load_frame,
    load_per_channel,
    or_placeholder,
    program_tile,
    slide_sums,
    zero_sums,
)


@triton.jit
def _grad_of_x(dz, raw, g, e, s, b, slope, offset, ACT: tl.constexpr, SLOPED: tl.constexpr):
    """Compute dX of one frame by the formula at the top of this file (slope is m, offset is n)."""
    dp = g * dz + e
    if ACT > 0:
        dp *= activation_grad(raw * s + b, ACT)
    dp *= s
    if SLOPED:
        dp += slope * raw + offset
    return dp


@triton.jit
def _backward_maps_kernel(
    dy, x, dx, extra, slope, offset, theta, gate, scale, shift,
    T, P, C, theta_c, theta_k, gate_c, gate_t, per_chunk,
    K: tl.constexpr, GATE: tl.constexpr, AFFINE: tl.constexpr, ACT: tl.constexpr,
    EXTRA: tl.constexpr, SLOPED: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    n, first, last, cs, offsets, inside = program_tile(T, P, C, per_chunk, BP, BC)
    PC = P * C
    SEEN: tl.constexpr = (ACT > 0) or SLOPED  # whether the gradient depends on X
    s = load_per_channel(scale, cs, cs < C, 1.0, AFFINE)
    b = load_per_channel(shift, cs, cs < C, 0.0, AFFINE)
    m = load_per_channel(slope, cs, cs < C, 0.0, SLOPED)
    o = load_per_channel(offset, cs, cs < C, 0.0, SLOPED)
    weights = n.to(tl.int64) * C * K + cs * theta_c
    gates = n.to(tl.int64) * C * T + cs * gate_c
    extra += n.to(tl.int64) * T * C + cs
    thetas = ()
    for i in tl.static_range(K):  # taps in reverse order
        thetas += (load_per_channel(theta, weights + (K - 1 - i) * theta_k, cs < C, 0.0, True),)
    sums = zero_sums(BP, BC, K)
    for i in tl.static_range(K - 1):
        grad = load_frame(dy, n, first + (i - K // 2), T, PC, offsets, inside).to(tl.float32)
        sums = slide_sums(sums, thetas, grad, K)[1:]
    for t in tl.range(first, last, num_stages=STAGES):
        grad = load_frame(dy, n, t + K // 2, T, PC, offsets, inside).to(tl.float32)
        sums = slide_sums(sums, thetas, grad, K)
        raw = grad
        if SEEN:
            raw = load_frame(x, n, t, T, PC, offsets, inside).to(tl.float32)
        g = load_per_channel(gate, gates + t * gate_t, cs < C, 1.0, GATE)
        e = load_per_channel(extra, t * C, cs < C, 0.0, EXTRA)
        out = _grad_of_x(sums[0], raw, g, e, s, b, m, o, ACT, SLOPED)
        start = (n * T + t).to(tl.int64) * PC
        tl.store(dx + start + offsets, out.to(dx.dtype.element_ty), mask=inside)
        sums = sums[1:]


@torch.library.custom_op("tanet::adaptive_conv_dx", mutates_args=())
def adaptive_conv_dx(
    dy: torch.Tensor,
    x: torch.Tensor,
    kernel: torch.Tensor,
    gate: torch.Tensor | None,
    scale: torch.Tensor | None,
    shift: torch.Tensor | None,
    act: str,
    extra: torch.Tensor | None,
    slope: torch.Tensor | None,
    offset: torch.Tensor | None,
) -> torch.Tensor:
    """Compute the gradient of x by the formula at the top of this file.

    In the formula, `extra` is e [N·T, C], `slope` is m [C] and `offset` is n [C].
    """
    x, dy = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, dy))
    dx = torch.empty_like(x)
    grid, per_chunk, compiled = launch_grid(x, kernel)
    inputs, options = kernel_arguments(FilterInputs(x, kernel, gate, scale, shift, act))
    others = or_placeholder(extra, slope, offset, otherwise=x)
    with device_of(x):
        _backward_maps_kernel[grid](
            dy, x, dx, *others, *inputs, per_chunk, **options, **compiled,
            EXTRA=extra is not None, SLOPED=slope is not None,
        )  # fmt: skip
    return dx


@adaptive_conv_dx.register_fake
def _(dy, x, kernel, gate, scale, shift, act, extra, slope, offset):
    return torch.empty_like(x, memory_format=torch.channels_last)

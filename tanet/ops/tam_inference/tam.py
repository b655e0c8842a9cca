"""TAM in evaluation mode, computed with three kernel launches for few clips and four for many clips.

    launch 1    squeeze s_t = mean of act(scale · X_t + shift)                 squeeze.py (eq. 1)
    launch 2    hidden layer h of the local branch; kernel Θ                   branches.py (eq. 3, 4)
    launch 3    gate V = σ(W' h)                                               gate.py (eq. 3)
    launch 4    Y_t = Σ_k Θ_k V_{t+k-K//2} act(scale · X_{t+k-K//2} + shift)   `adaptive_conv`

A small network on one clip spends its time on launches, not on arithmetic. PyTorch's own operations need
about fifteen launches before launch 4. For few clips, launch 3 is left out: each program of launch 4 then
computes the part of V that it needs (`_filter_kernel`).

The 1×1 convolution that produces X can be included. If the convolution is bound by memory, one kernel
computes the convolution and launch 1 together.

Arithmetic is in float32, with two exceptions. The convolution is computed in the dtype of x. The two branches
are computed with less precision if their weights are in bfloat16; see `product` in branches.py.
"""

import torch
import triton
import triton.language as tl

from tanet.ops.adaptive_convolution.triton_forward import adaptive_conv_triton
from tanet.ops.common.triton_tiles import (
    ACTS,
    activate,
    device_of,
    load_frame,
    load_per_channel,
    or_placeholder,
    padded_power_of_two,
    slide_sums,
    tile_offsets,
    zero_sums,
)
from tanet.ops.pooling.triton_squeeze import squeeze
from tanet.ops.tam_inference.branches import hidden_and_kernel
from tanet.ops.tam_inference.gate import gate
from tanet.ops.tam_inference.squeeze import conv_squeeze

FEW = 2  # up to this many clips, computing the gate in every tile is faster than one more launch
FRAMES = 2  # output frames per program for few clips; a program also reads K - 1 neighbouring frames


@triton.jit
def _filter_kernel(
    x, y, hidden, l3, kernel, scale, shift, T, P, C, HIDDEN, tiles_c, groups,
    K: tl.constexpr, FRAMES: tl.constexpr, AFFINE: tl.constexpr, ACT: tl.constexpr,
    BP: tl.constexpr, BC: tl.constexpr, BH: tl.constexpr,
):  # fmt: skip
    """Compute the gate and FRAMES output frames for a tile of positions and channels."""
    n, first = tl.program_id(1) // groups, tl.program_id(1) % groups * FRAMES
    cs = tl.program_id(0) % tiles_c * BC + tl.arange(0, BC)
    offsets, inside = tile_offsets(tl.program_id(0) // tiles_c * BP, P, cs, C, BP)
    PC = P * C
    s = load_per_channel(scale, cs, cs < C, 1.0, AFFINE)
    b = load_per_channel(shift, cs, cs < C, 0.0, AFFINE)
    thetas = ()
    for k in tl.static_range(K):
        thetas += (tl.load(kernel + (n * K + k) * C + cs, mask=cs < C, other=0.0)[None, :],)
    raws = ()  # frames of x that are loaded while the gates are computed
    for i in tl.static_range(FRAMES + K - 1):
        raws += (load_frame(x, n, first + (i - K // 2), T, PC, offsets, inside),)
    sums = zero_sums(BP, BC, K)
    for i in tl.static_range(FRAMES + K - 1):
        t = first + (i - K // 2)
        there = (t >= 0) & (t < T)
        at = hidden + (n * T + t).to(tl.int64) * HIDDEN
        logits = tl.zeros([BC], tl.float32)
        for h in range(0, HIDDEN, BH):
            hs = h + tl.arange(0, BH)
            row = tl.load(at + hs, mask=(hs < HIDDEN) & there, other=0.0)
            w = l3 + cs[:, None] * HIDDEN + hs[None, :]
            w = tl.load(w, mask=(cs[:, None] < C) & (hs[None, :] < HIDDEN), other=0.0).to(tl.float32)
            logits += tl.sum(w * row[None, :], 1)
        gate = tl.where(there, 1.0 / (1.0 + tl.exp(-logits)), 0.0)  # zero outside the clip
        sums = slide_sums(sums, thetas, gate[None, :] * activate(raws[i].to(tl.float32) * s + b, ACT), K)
        if i >= K - 1:
            done = first + (i - (K - 1))
            to = y + (n * T + done).to(tl.int64) * PC + offsets
            tl.store(to, sums[0].to(y.dtype.element_ty), mask=inside & (done < T))
        sums = sums[1:]


@torch.library.custom_op("tanet::tam", mutates_args=())
def tam(
    x: torch.Tensor,
    conv: torch.Tensor | None,
    scale: torch.Tensor | None,
    shift: torch.Tensor | None,
    act: str,
    frames: int,
    static: torch.Tensor | None,
    g: list[torch.Tensor],
    g_eps: float,
    l: list[torch.Tensor],  # noqa: E741
    l_eps: float,
) -> torch.Tensor:
    """Compute the output of a TAM in evaluation mode, [N·T, C, H, W] in channels-last, without gradients.

    Args:
        x: maps [N·T, C, H, W]. If `conv` is given, x is the input [N·T, C', H, W] of the convolution. If x is
            not in channels-last, x is copied to that format.
        conv: weight [C, C', 1, 1] of a 1×1 convolution, in the dtype of x. None for no convolution.
        scale: [C], as in `adaptive_conv`.
        shift: [C].
        act: name of the activation.
        frames: T, the number of frames per clip.
        static: static kernel S [C, K], added to the adaptive kernel, or None.
        g: weights of the global branch: first layer [αT, T]; weight, bias, mean and variance of the
            BatchNorm; last layer [K, αT].
        g_eps: eps of the global branch's BatchNorm.
        l: weights of the local branch: first layer [C/β, C, taps]; BatchNorm as for `g`;
            last layer [C, C/β, 1].
        l_eps: eps of the local branch's BatchNorm.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    few = x.shape[0] // frames <= FEW
    with device_of(x):
        if conv is None:
            s_parts = squeeze(x, scale, shift, act, few=few)
        else:
            x, s_parts = conv_squeeze(x, conv, scale, shift, act, few=few)
        hidden, kernel = hidden_and_kernel(s_parts, frames, static, g, g_eps, l, l_eps, few=few)
        if few:
            return _filter_few_clips(x, hidden, l[5], kernel, scale, shift, act)
        return adaptive_conv_triton(x, kernel.mT, gate(hidden, l[5]).mT, scale, shift, act)


@tam.register_fake
def _(x, conv, scale, shift, act, frames, static, g, g_eps, l, l_eps):  # noqa: E741
    channels = x.shape[1] if conv is None else conv.shape[0]
    shape = (x.shape[0], channels, *x.shape[2:])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _filter_few_clips(x, hidden, l3, kernel, scale, shift, act):
    """Compute the gate and filter the maps in one launch, for few clips."""
    clips, frames, width = hidden.shape
    channels, places = x.shape[1], x.shape[2] * x.shape[3]
    y = torch.empty_like(x)
    tiles_c, groups = triton.cdiv(channels, 32), triton.cdiv(frames, FRAMES)
    _filter_kernel[(triton.cdiv(places, 32) * tiles_c, clips * groups)](
        x, y, hidden, l3.contiguous(), kernel, *or_placeholder(scale, shift, otherwise=x),
        frames, places, channels, width, tiles_c, groups,
        K=kernel.shape[1], FRAMES=FRAMES, AFFINE=scale is not None, ACT=ACTS[act],
        BP=32, BC=32, BH=padded_power_of_two(width, most=64), num_warps=2,
    )  # fmt: skip
    return y

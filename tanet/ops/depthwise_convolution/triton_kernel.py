"""The depthwise convolution of op.py as one kernel.

Each program computes some positions of some channels for all output frames. It walks along the input frames,
adds each frame to the output frames that depend on it, and keeps these sums and the weights in registers. So
it reads each value KH · KW times instead of KT · KH · KW times.
"""

import torch
import triton
import triton.language as tl

from tanet.ops.common.triton_tiles import activate, device_of, or_placeholder

# Positions and channels per program. Few numbers per thread leave registers for the 27 weights of a channel.
TILE = {"BP": 16, "BC": 16, "num_warps": 4}


@triton.jit
def _depthwise_kernel(
    x, weight, bias, y, T, H, W, TO, HO, WO, C, tiles_c, per_chunk, stride_h, stride_w,
    KT: tl.constexpr, KH: tl.constexpr, KW: tl.constexpr, STEP: tl.constexpr,
    BIAS: tl.constexpr, RELU: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    n = tl.program_id(1).to(tl.int64)
    first = tl.program_id(2) * per_chunk  # first and last output frame of this program
    last = tl.minimum(first + per_chunk, TO)
    cs = tl.program_id(0) % tiles_c * BC + tl.arange(0, BC)
    ps = tl.program_id(0) // tiles_c * BP + tl.arange(0, BP)
    high, wide = ps // WO * stride_h - KH // 2, ps % WO * stride_w - KW // 2
    weights = ()
    for i in tl.static_range(KT * KH * KW):
        w = tl.load(weight + cs * (KT * KH * KW) + i, mask=cs < C, other=0.0)
        weights += (w.to(tl.float32)[None, :],)
    b = tl.zeros([1, BC], tl.float32)
    if BIAS:
        b += tl.load(bias + cs, mask=cs < C, other=0.0).to(tl.float32)[None, :]
    sums = ()  # output frames to which earlier input frames were added
    for _ in tl.static_range(KT - 1):
        sums += (tl.zeros([BP, BC], tl.float32),)
    for t in range(first * STEP - KT // 2, (last - 1) * STEP + KT // 2 + 1):
        sums += (tl.zeros([BP, BC], tl.float32),)
        frame = x + (n * T + t) * H * W * C
        for i in tl.static_range(KH * KW):
            at_h, at_w = high + i // KW, wide + i % KW
            inside = (ps < HO * WO) & (at_h >= 0) & (at_h < H) & (at_w >= 0) & (at_w < W) & (t >= 0) & (t < T)
            at = (at_h * W + at_w)[:, None] * C + cs[None, :]
            value = tl.load(frame + at, mask=inside[:, None] & (cs < C)[None, :], other=0.0).to(tl.float32)
            added = ()
            for k in tl.static_range(KT):
                added += (sums[k] + weights[(KT - 1 - k) * KH * KW + i] * value,)
            sums = added
        done = t - KT // 2  # this output position along time is complete, if the stride reaches it
        to = done // STEP
        out = activate(sums[0] + b, 1 if RELU else 0).to(y.dtype.element_ty)
        mask = (ps < HO * WO) & (done >= first * STEP) & (done % STEP == 0) & (to < last)
        where = ((n * TO + to) * HO * WO + ps)[:, None] * C + cs[None, :]
        tl.store(y + where, out, mask=mask[:, None] & (cs < C)[None, :])
        sums = sums[1:]


def depthwise_conv_triton(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: list[int], *, relu: bool
) -> torch.Tensor:
    """Compute `depthwise_conv` on a GPU; see there."""
    x = x.contiguous(memory_format=torch.channels_last_3d)
    clips, channels, frames, height, width = x.shape
    out = tuple(-(-size // step) for size, step in zip(x.shape[2:], stride, strict=True))
    new = {"dtype": x.dtype, "device": x.device, "memory_format": torch.channels_last_3d}
    y = torch.empty(clips, channels, *out, **new)
    tiles_c = triton.cdiv(channels, TILE["BC"])
    tiles = triton.cdiv(out[1] * out[2], TILE["BP"]) * tiles_c
    with device_of(x):
        _depthwise_kernel[(tiles, clips, 1)](
            x, weight.contiguous(), *or_placeholder(bias, otherwise=x), y,
            frames, height, width, *out, channels, tiles_c, out[0], *stride[1:],
            KT=weight.shape[2], KH=weight.shape[3], KW=weight.shape[4], STEP=stride[0],
            BIAS=bias is not None, RELU=relu, **TILE,
        )  # fmt: skip
    return y

"""Two 1×1 convolutions, their sum, bias and ReLU in one kernel: y = ReLU(W ∗ x + W' ∗ z + b).

This is the end of a residual block whose shortcut has a convolution. The output of the shortcut, as large as
the block's output, is never written.
"""

import torch
import triton
import triton.language as tl

from tanet.ops.common.triton_tiles import activate, device_of, or_placeholder
from tanet.ops.convolution.op import channels_last


@triton.jit
def _pair_kernel(
    x, weight, z, weight_z, bias, y, M, X, Z, OUT, tiles_n,
    TO, HO, WO, TZ, HZ, WZ, step_t, step_h, step_w,
    BIAS: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Compute BM positions and BN channels of the output."""
    ms = tl.program_id(0) // tiles_n * BM + tl.arange(0, BM)
    outs, ks = tl.program_id(0) % tiles_n * BN + tl.arange(0, BN), tl.arange(0, BK)
    rows = ms < M
    # The position in z that belongs to each position in y.
    frame = ms // (HO * WO)
    frame = frame // TO * TZ + frame % TO * step_t
    at_z = (frame.to(tl.int64) * HZ + ms // WO % HO * step_h) * WZ + ms % WO * step_w
    total = tl.zeros([BM, BN], tl.float32)
    at, at_weight = ms.to(tl.int64)[:, None] * X + ks[None, :], outs[None, :] * X + ks[:, None]
    for k in tl.range(0, X, BK, num_stages=STAGES):
        inside = ks < X - k
        values = tl.load(x + at + k, mask=rows[:, None] & inside[None, :], other=0.0)
        w = tl.load(weight + at_weight + k, mask=inside[:, None] & (outs < OUT)[None, :], other=0.0)
        total = tl.dot(values, w, total)
    at, at_weight = at_z[:, None] * Z + ks[None, :], outs[None, :] * Z + ks[:, None]
    for k in tl.range(0, Z, BK, num_stages=STAGES):
        inside = ks < Z - k
        values = tl.load(z + at + k, mask=rows[:, None] & inside[None, :], other=0.0)
        w = tl.load(weight_z + at_weight + k, mask=inside[:, None] & (outs < OUT)[None, :], other=0.0)
        total = tl.dot(values, w, total)
    if BIAS:
        total += tl.load(bias + outs, mask=outs < OUT, other=0.0).to(tl.float32)[None, :]
    at = ms.to(tl.int64)[:, None] * OUT + outs[None, :]
    out = activate(total, 1).to(y.dtype.element_ty)
    tl.store(y + at, out, mask=rows[:, None] & (outs < OUT)[None, :])


def conv_pair_relu_triton(
    x: torch.Tensor,
    weight: torch.Tensor,
    z: torch.Tensor,
    weight_z: torch.Tensor,
    bias: torch.Tensor | None,
    stride: list[int],
    *,
    block: int,
) -> torch.Tensor:
    """Compute `conv_pair_relu` on a GPU. Each program computes `block` output channels."""
    sizes, sizes_z = (x.shape[2:], z.shape[2:]) if x.ndim == 5 else ((1, *x.shape[2:]), (1, *z.shape[2:]))
    steps = stride if x.ndim == 5 else [1, *stride]
    layout = channels_last(x)
    x, z = (maps.contiguous(memory_format=layout) for maps in (x, z))
    outputs, places = weight.shape[0], x.numel() // x.shape[1]
    shape = (x.shape[0], outputs, *x.shape[2:])
    y = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
    tiles_n = triton.cdiv(outputs, block)
    with device_of(x):
        _pair_kernel[(triton.cdiv(places, 128) * tiles_n,)](
            x, weight.flatten(1).contiguous(), z, weight_z.flatten(1).contiguous(),
            *or_placeholder(bias, otherwise=x), y, places, x.shape[1], z.shape[1], outputs, tiles_n,
            *sizes, *sizes_z, *steps,
            BIAS=bias is not None, BM=128, BN=block, BK=64, STAGES=3, num_warps=8,
        )  # fmt: skip
    return y

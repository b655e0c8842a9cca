"""The gate of TAM in evaluation mode, V = σ(W' h), from the hidden layer h of the local branch (eq. 3)."""

import torch
import triton
import triton.language as tl

ROWS = 16  # number of rows in a matrix product: the smallest number that `tl.dot` accepts


@triton.jit
def product(rows, w, total):
    """Return total + rows @ w for float32 rows, with float32 accuracy unless w is a 16-bit number.

    If w is in bfloat16 or float16, each value of the rows is split into a high and a low part of that type.
    This keeps 16 or 22 bits of the value. TAM's PyTorch module keeps only 8 bits in bfloat16, 11 in float16.
    """
    if w.dtype == tl.bfloat16 or w.dtype == tl.float16:
        high = rows.to(w.dtype)
        total = tl.dot(high, w, total)
        return tl.dot((rows - high.to(tl.float32)).to(w.dtype), w, total)
    return total + tl.dot(rows, w.to(tl.float32), input_precision="tf32x3")


@triton.jit
def _gate_kernel(
    hidden, l3, gate, T, C, HIDDEN,
    BT: tl.constexpr, BC: tl.constexpr, BH: tl.constexpr,
):  # fmt: skip
    start = tl.program_id(1).to(tl.int64) * T  # first row of the clip
    cs = tl.program_id(0) * BC + tl.arange(0, BC)
    ts = tl.program_id(2) * BT + tl.arange(0, BT)
    hidden += start * HIDDEN
    gate += start * C
    logits = tl.zeros([BT, BC], tl.float32)
    for j in range(0, HIDDEN, BH):
        hs = j + tl.arange(0, BH)
        at = ts[:, None] * HIDDEN + hs[None, :]
        rows = tl.load(hidden + at, mask=(ts[:, None] < T) & (hs[None, :] < HIDDEN), other=0.0)
        w = l3 + cs[None, :] * HIDDEN + hs[:, None]
        w = tl.load(w, mask=(cs[None, :] < C) & (hs[:, None] < HIDDEN), other=0.0)
        logits = product(rows, w, logits)
    to = gate + ts[:, None] * C + cs[None, :]
    tl.store(to, 1.0 / (1.0 + tl.exp(-logits)), mask=(ts[:, None] < T) & (cs[None, :] < C))


def gate(hidden: torch.Tensor, l3: torch.Tensor) -> torch.Tensor:
    """Compute the gate [N, T, C] from the local branch's hidden layer [N, T, C/β], in one launch."""
    clips, frames, width = hidden.shape
    channels = l3.shape[0]
    out = torch.empty(clips, frames, channels, device=hidden.device, dtype=torch.float32)
    _gate_kernel[(triton.cdiv(channels, 64), clips, triton.cdiv(frames, ROWS))](
        hidden, l3.contiguous(), out, frames, channels, width,
        BT=ROWS, BC=64, BH=32,
    )  # fmt: skip
    return out

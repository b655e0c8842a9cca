"""Bias, residual and ReLU in one pass over the output of a convolution, in place."""

import torch
import triton
import triton.language as tl

from tanet.ops.common.triton_tiles import activate, device_of, or_placeholder

ELEMENTS = 2048  # elements that one program changes


@triton.jit
def _add_relu_kernel(
    y, bias, residual, total, C, BIAS: tl.constexpr, RESIDUAL: tl.constexpr, ELEMENTS: tl.constexpr
):
    at = tl.program_id(0).to(tl.int64) * ELEMENTS + tl.arange(0, ELEMENTS)
    inside = at < total
    value = tl.load(y + at, mask=inside, other=0.0).to(tl.float32)
    if BIAS:
        value += tl.load(bias + at % C, mask=inside, other=0.0).to(tl.float32)
    if RESIDUAL:
        value += tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + at, activate(value, 1).to(y.dtype.element_ty), mask=inside)


def add_relu_(y: torch.Tensor, bias: torch.Tensor | None, residual: torch.Tensor | None) -> torch.Tensor:
    """Compute y = ReLU(y + bias + residual) in place, and return y.

    Args:
        y: maps in channels-last or channels-last-3d, [N, C, H, W] or [N, C, T, H, W].
        bias: [C].
        residual: in the shape and the memory format of y.
    """
    if residual is not None and residual.stride() != y.stride():
        residual = torch.empty_like(y).copy_(residual)
    others = or_placeholder(bias, otherwise=y)
    with device_of(y):
        _add_relu_kernel[(triton.cdiv(y.numel(), ELEMENTS),)](
            y, *others, y if residual is None else residual, y.numel(), y.shape[1],
            BIAS=bias is not None, RESIDUAL=residual is not None, ELEMENTS=ELEMENTS,
        )  # fmt: skip
    return y

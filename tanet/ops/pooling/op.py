"""Means over maps: per channel over the batch (BatchNorm's moments), per map over its positions (squeeze)."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from tanet.ops.common.dispatch import Backend, records_autograd


def moments(x: torch.Tensor, *, backend: Backend) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the mean and biased variance [C] of each channel of maps [N·T, C, H, W], in float32 or float64.

    Autograd does not see the Triton version. `squeeze_maps` must then run on Triton too, because its backward
    pass adds the gradient of the moments.
    """
    if backend == "triton":
        from tanet.ops.pooling.triton_kernels import moments_triton

        return moments_triton(x.detach())
    var, mean = torch.var_mean(x.to(torch.promote_types(x.dtype, torch.float32)), (0, 2, 3), correction=0)
    return mean, var


def squeeze(x: torch.Tensor) -> torch.Tensor:
    """Average each map over its positions, [N·T, C, H, W] → rows s [N·T, C] (eq. 1 of TAM)."""
    return Squeeze.apply(x) if records_autograd(x) else x.mean((2, 3))  # type: ignore[return-value]


class Squeeze(torch.autograd.Function):
    """Mean of maps [N·T, C, H, W] over H, W; the gradient is one number per map, expanded without a copy."""

    @staticmethod
    def forward(ctx: Any, maps: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Compute the means and save the shape for the backward pass."""
        ctx.shape = maps.shape
        return maps.mean((2, 3))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, ds: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Compute the gradient of the maps."""
        places = ctx.shape[2] * ctx.shape[3]
        return (ds / places)[..., None, None].expand(ctx.shape)

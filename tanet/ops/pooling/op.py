"""Means of feature maps: mean and variance per channel for BatchNorm, and the spatial mean of each map."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from tanet.ops.common.dispatch import Backend, records_autograd


def moments(x: torch.Tensor, *, backend: Backend) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean and the biased variance of each channel, [C] each, of maps [N·T, C, H, W].

    Both results are in float64 if x is in float64, and otherwise in float32.

    The Triton version has no gradient of its own. If you use it, also use the Triton version of
    `squeeze_maps`, whose backward pass adds the gradient of the mean and the variance.
    """
    if backend == "triton":
        from tanet.ops.pooling.triton_kernels import moments_triton

        return moments_triton(x.detach())
    var, mean = torch.var_mean(x.to(torch.promote_types(x.dtype, torch.float32)), (0, 2, 3), correction=0)
    return mean, var


def squeeze(x: torch.Tensor) -> torch.Tensor:
    """Return the mean of each map over H and W (eq. 1 of TAM): [N·T, C, H, W] → [N·T, C]."""
    return Squeeze.apply(x) if records_autograd(x) else x.mean((2, 3))  # type: ignore[return-value]


class Squeeze(torch.autograd.Function):
    """Mean of maps over H and W. The gradient is one number for each map, expanded without a copy."""

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

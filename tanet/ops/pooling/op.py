"""Means over maps: of a channel over the batch (BatchNorm's moments), of a map over its places (squeeze)."""

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from tanet.ops.common.dispatch import Backend, records_autograd


def moments(x: torch.Tensor, *, backend: Backend) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute mean and biased variance [C] of the channels of maps [N·T, C, H, W], in float32 at least.

    The Triton version returns no gradient. `squeeze_maps` must then run on Triton too: its backward pass adds
    the part of the moments.
    """
    if backend == "triton":
        from tanet.ops.pooling.triton_kernels import moments_triton

        return moments_triton(x.detach())
    var, mean = torch.var_mean(x.to(torch.promote_types(x.dtype, torch.float32)), (0, 2, 3), correction=0)
    return mean, var


def squeeze(x: torch.Tensor) -> torch.Tensor:
    """The mean of each map over its places, [N·T, C, H, W] → rows s [N·T, C] (eq. 1)."""
    return Squeeze.apply(x) if records_autograd(x) else x.mean((2, 3))  # type: ignore[return-value]


class Squeeze(torch.autograd.Function):
    """The mean of maps [N·T, C, H, W] over H, W, whose gradient is one number a map and not written out."""

    @staticmethod
    def forward(ctx: Any, maps: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Compute the answer, and keep what the gradient needs."""
        ctx.shape = maps.shape
        return maps.mean((2, 3))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, ds: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Compute the gradients of the inputs."""
        places = ctx.shape[2] * ctx.shape[3]
        return (ds / places)[..., None, None].expand(ctx.shape)

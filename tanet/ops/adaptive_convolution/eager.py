"""Weighted sum of shifted maps in PyTorch's eager mode, with gradients in the memory format of the maps.

By default, autograd pads the gradient of a slice in NCHW, and writes the gradient of a mean out at full size.
On a CPU, the two cost a channels-last network more time than the rest of the training step, because the
backward pass of BatchNorm then has to convert memory formats too. This file replaces the gradient of the
slices, `pooling.op.Squeeze` that of the mean.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable


def weighted_sum(maps: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return Σ_k weight_k[t + k - K//2] · maps[t + k - K//2], zero outside the clip.

    Args:
        maps: [N, T, C, H, W].
        weight: [K, N, T, C, 1, 1], the weight of each tap, indexed by the frame that the tap reads.
    """
    half, frames = len(weight) // 2, maps.shape[1]
    y = maps * weight[half]
    # Add into slices instead of padding a copy: this keeps channels-last and reads no frame outside the clip.
    for k, at, read in _pairs(len(weight), frames):
        y[:, at].addcmul_(maps[:, read], weight[k, :, read])
    return y


class WeightedSum(torch.autograd.Function):
    """`weighted_sum` with gradients in the memory format of the maps; differentiable once."""

    @staticmethod
    def forward(ctx: Any, maps: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Compute the weighted sum and save the inputs for the backward pass."""
        ctx.save_for_backward(maps, weight)
        return weighted_sum(maps, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:  # type: ignore[override]
        """Compute the gradients of the maps and the weights."""
        maps, weight = ctx.saved_tensors
        if dy.stride() != maps.stride():
            dy = torch.empty_like(maps).copy_(dy)
        half, pairs = len(weight) // 2, list(_pairs(len(weight), maps.shape[1]))
        dmaps = dweight = None
        if ctx.needs_input_grad[1]:
            dweight = torch.zeros_like(weight)
            product = dy * maps  # all taps reuse this memory
            dweight[half] = _sum_places(product)
            for k, at, read in pairs:
                dweight[k, :, read] = _sum_places(torch.mul(dy[:, at], maps[:, read], out=product[:, at]))
        if ctx.needs_input_grad[0]:
            dmaps = dy * weight[half]
            for k, at, read in pairs:
                dmaps[:, read].addcmul_(dy[:, at], weight[k, :, read])
        return dmaps, dweight


def _pairs(taps: int, frames: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield (tap, output frames that it adds to, input frames that it reads) for all but the middle tap."""
    for k in range(taps):
        ahead = k - taps // 2
        if 0 < ahead < frames:
            yield k, slice(None, -ahead), slice(ahead, None)
        elif -frames < ahead < 0:
            yield k, slice(-ahead, None), slice(None, ahead)


def _sum_places(product: torch.Tensor) -> torch.Tensor:
    return product.sum((-2, -1), keepdim=True)

"""Weighted sum of shifted maps in PyTorch's eager mode, with gradients in the memory format of the maps.

Two of PyTorch's own gradients are slow for a channels-last network on a CPU. PyTorch pads the gradient of a
slice in the NCHW format, and it writes the gradient of a mean out at full size. After each of these
operations, the backward pass of BatchNorm has to convert memory formats. In total, this takes more time than
the rest of the training step. `WeightedSum` computes the gradient of the slices without padding.
`pooling.op.Squeeze` computes the gradient of the mean without writing it out.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable


def weighted_sum(maps: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return Y[t] = Σ_k weight_k[t + k - K//2] · maps[t + k - K//2]. Frames outside the clip are zero.

    Args:
        maps: [N, T, C, H, W].
        weight: [K, N, T, C, 1, 1]. When tap k reads frame t, the frame is multiplied by weight[k, :, t].
    """
    half, frames = len(weight) // 2, maps.shape[1]
    y = maps * weight[half]
    # Adding to slices of y keeps the channels-last format and needs no padded copy of the maps.
    for k, at, read in _pairs(len(weight), frames):
        y[:, at].addcmul_(maps[:, read], weight[k, :, read])
    return y


class WeightedSum(torch.autograd.Function):
    """`weighted_sum` with gradients in the memory format of the maps, but without second derivatives."""

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
            product = dy * maps  # the loop below reuses this memory for every tap
            dweight[half] = _sum_places(product)
            for k, at, read in pairs:
                dweight[k, :, read] = _sum_places(torch.mul(dy[:, at], maps[:, read], out=product[:, at]))
        if ctx.needs_input_grad[0]:
            dmaps = dy * weight[half]
            for k, at, read in pairs:
                dmaps[:, read].addcmul_(dy[:, at], weight[k, :, read])
        return dmaps, dweight


def _pairs(taps: int, frames: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield (k, slice of output frames, slice of input frames) for every tap k except the middle tap.

    Tap k reads the input frames and adds to the output frames.
    """
    for k in range(taps):
        ahead = k - taps // 2
        if 0 < ahead < frames:
            yield k, slice(None, -ahead), slice(ahead, None)
        elif -frames < ahead < 0:
            yield k, slice(-ahead, None), slice(None, ahead)


def _sum_places(product: torch.Tensor) -> torch.Tensor:
    return product.sum((-2, -1), keepdim=True)

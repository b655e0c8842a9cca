"""The values of a BatchNorm, for operations that absorb it."""

from typing import NamedTuple

import torch


class BatchNormValues(NamedTuple):
    """Values of an absorbed BatchNorm, (X - mean) / √(var + eps) · weight + bias; tensors are [C]."""

    weight: torch.Tensor
    bias: torch.Tensor
    mean: torch.Tensor
    var: torch.Tensor
    eps: float
    of_batch: bool
    """Whether mean and var are the moments of X itself; then the gradient of X flows through them too."""

    def scale_and_shift(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the BatchNorm as an affine map: scale and shift, [C] each."""
        scale = self.weight * (self.var + self.eps).rsqrt()
        return scale, self.bias - self.mean * scale

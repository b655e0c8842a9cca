"""A BatchNorm as numbers, for operations that do its work by the way."""

from typing import NamedTuple

import torch


class BatchNormValues(NamedTuple):
    """A BatchNorm that is taken in: (X - mean) / √(var + eps) · weight + bias, [C] each."""

    weight: torch.Tensor
    bias: torch.Tensor
    mean: torch.Tensor
    var: torch.Tensor
    eps: float
    of_batch: bool
    """Whether mean and var are the moments of X itself, so that its gradient goes through them as well."""

    def scale_and_shift(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The affine map that it is, [C] each."""
        scale = self.weight * (self.var + self.eps).rsqrt()
        return scale, self.bias - self.mean * scale

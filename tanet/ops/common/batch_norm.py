"""Values of a BatchNorm layer, for operations that compute the BatchNorm themselves."""

from typing import NamedTuple

import torch


class BatchNormValues(NamedTuple):
    """Values of a BatchNorm layer. All tensors are [C].

    The layer computes (X - mean) / √(var + eps) · weight + bias.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    mean: torch.Tensor
    var: torch.Tensor
    eps: float
    of_batch: bool
    """Whether mean and var were computed from X. If so, the gradient of X also flows through mean and var."""

    def scale_and_shift(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scale and shift, [C] each. The BatchNorm is equal to scale · X + shift."""
        scale = self.weight * (self.var + self.eps).rsqrt()
        return scale, self.bias - self.mean * scale

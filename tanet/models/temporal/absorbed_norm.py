"""BatchNorm whose computation is left to the temporal module after the BatchNorm."""

import torch
from torch import nn

from tanet.ops import Backend, BatchNormValues, moments


class AbsorbedBatchNorm(nn.BatchNorm2d):
    """BatchNorm that returns its input unchanged. The temporal module after this layer normalises it."""

    frozen: tuple[torch.Tensor, torch.Tensor] | None = None
    """Constant scale and shift, [C] each, set by `Network.optimize`. `Module.to` does not cast or move them.
    None: compute scale and shift from the weights and statistics."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Return the input unchanged. The temporal module after this layer computes the BatchNorm."""
        return input

    def values_for(self, x: torch.Tensor, *, backend: Backend) -> BatchNormValues:
        """Return the weights and statistics that are used to normalise x.

        In training mode, the statistics are those of the batch, and the running statistics are updated.

        Args:
            x: input of the BatchNorm, [N·T, C, H, W].
            backend: backend that computes the moments of x. `squeeze_maps` must use the same backend.
        """
        if self.frozen is not None:
            scale, shift = self.frozen
            zeros = torch.zeros_like(scale)
            return BatchNormValues(scale, shift, zeros, zeros + 1, 0.0, of_batch=False)
        assert self.running_mean is not None and self.running_var is not None
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = moments(x, backend=backend)
            update_statistics(self, mean, var, count=x.numel() // x.shape[1])
        return BatchNormValues(self.weight, self.bias, mean, var, self.eps, self.training)

    def scale_and_shift(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scale and shift, [C] each, that this BatchNorm applies in evaluation mode."""
        if self.frozen is not None:
            return self.frozen
        assert self.running_mean is not None and self.running_var is not None
        norm = BatchNormValues(
            self.weight, self.bias, self.running_mean, self.running_var, self.eps, of_batch=False
        )
        return norm.scale_and_shift()


@torch.no_grad()
def update_statistics(
    norm: nn.BatchNorm1d | nn.BatchNorm2d, mean: torch.Tensor, var: torch.Tensor, *, count: int
) -> None:
    """Update a BatchNorm's running statistics with those of a batch of `count` values per channel.

    Args:
        norm: BatchNorm with running statistics and momentum.
        mean: mean of each channel, [C].
        var: biased variance of each channel, [C].
        count: number of values per channel.
    """
    assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked += 1
    new, old = norm.momentum, 1 - norm.momentum
    norm.running_mean.mul_(old).add_(mean, alpha=new)
    norm.running_var.mul_(old).add_(var, alpha=new * count / (count - 1))

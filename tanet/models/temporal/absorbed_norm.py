"""A BatchNorm whose work a temporal module has taken over."""

import torch
from torch import nn

from tanet.ops import Norm, moments


class TakenNorm(nn.BatchNorm2d):
    """A BatchNorm whose work a temporal module has taken over: what enters leaves as it is."""

    frozen: tuple[torch.Tensor, torch.Tensor] | None = None
    """Scale and shift, where they are settled (`VideoNet.optimize`); neither cast nor moved by `to`."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input

    def of(self, x: torch.Tensor, *, frames: int, taps: int) -> Norm:
        """What it does to x [N·T, C, H, W]; in training that moves its running statistics."""
        if self.frozen is not None:
            scale, shift = self.frozen
            zeros = torch.zeros_like(scale)
            return Norm(scale, shift, zeros, zeros + 1, 0.0, of_batch=False)
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = moments(x, frames=frames, taps=taps)
            count = x.numel() / x.shape[1]
            with torch.no_grad():
                self.num_batches_tracked += 1
                new, old = self.momentum, 1 - self.momentum
                self.running_mean.copy_(new * mean + old * self.running_mean)
                self.running_var.copy_(new * count / (count - 1) * var + old * self.running_var)
        return Norm(self.weight, self.bias, mean, var, self.eps, self.training)

    def scale_and_shift(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Its affine map of each channel [C] in evaluation."""
        if self.frozen is not None:
            return self.frozen
        assert self.running_mean is not None and self.running_var is not None
        norm = Norm(self.weight, self.bias, self.running_mean, self.running_var, self.eps, of_batch=False)
        return norm.scale_and_shift()

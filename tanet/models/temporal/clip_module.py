"""Base class of the temporal modules. The frames of a clip are consecutive images of the input batch."""

import torch
from torch import nn

from tanet.errors import UserError


class ClipModule(nn.Module):
    """Module that maps clips [N·T, C, H, W] to the same shape. A subclass may return another shape.

    Args:
        frames: T, frames per clip.

    Raises:
        UserError: T is not positive.
    """

    def __init__(self, *, frames: int) -> None:
        super().__init__()
        if frames < 1:
            raise UserError(f"frames must be positive, not {frames}")
        self.frames = frames

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Show T when the network is printed."""
        return f"frames={self.frames}"

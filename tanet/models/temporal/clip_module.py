"""Base class of the temporal modules. The frames of a clip are consecutive rows of a batch of images."""

import torch
from torch import nn

from tanet.errors import UserError


class ClipModule(nn.Module):
    """A module on clips: [N·T, C, H, W] → the same shape, unless a subclass says otherwise.

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

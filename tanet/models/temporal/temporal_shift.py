"""TSM, the temporal shift: part of the channels come from the frame after, part from the frame before.

    Y[n, t, c] = X[n, t + 1, c]  for c < C/8        X[n, t - 1, c]  for C/8 ≤ c < C/4        X[n, t, c] else

zero outside the clip. Lin, Gan, Han: TSM: Temporal Shift Module for Efficient Video Understanding, ICCV 2019.
Its place is before conv1, in the residual branch only ("residual shift"), so that no frame loses its own
features.
"""

import torch
from torch import nn

from tanet.errors import UserError
from tanet.ops import shift


class TemporalShift(nn.Module):
    """Temporal shift, [N·T, C, H, W] → [N·T, C, H, W]; no parameters.

    Args:
        frames: T, the frames of a clip.
        divisor: one part of the channels in `divisor` moves each way.
    """

    def __init__(self, *, frames: int, divisor: int = 8) -> None:
        super().__init__()
        if min(frames, divisor) < 1:
            raise UserError(f"frames and divisor must be positive, not {frames} and {divisor}")
        self.frames, self.divisor = frames, divisor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return shift(x, frames=self.frames, part=x.shape[1] // self.divisor)

    def extra_repr(self) -> str:
        return f"frames={self.frames}, divisor={self.divisor}"

"""TSM, the temporal shift module: some channels come from the next frame, and some from the previous frame.

    Y[n, t, c] = X[n, t + 1, c]  for c < C/8        X[n, t - 1, c]  for C/8 ≤ c < C/4        X[n, t, c] else

X is zero outside the clip. Lin, Gan, Han: TSM: Temporal Shift Module for Efficient Video Understanding, ICCV
2019. The shift is inserted before conv1, in the residual branch only ("residual shift"). The shortcut is not
shifted, so it keeps the features of each frame.
"""

import torch

from tanet.errors import UserError
from tanet.models.temporal.clip_module import ClipModule
from tanet.ops import shift


class TemporalShift(ClipModule):
    """Temporal shift, [N·T, C, H, W] → [N·T, C, H, W]; no parameters.

    Args:
        frames: T, frames per clip.
        divisor: C/divisor channels come from the next frame, and C/divisor from the previous frame.
    """

    def __init__(self, *, frames: int, divisor: int = 8) -> None:
        super().__init__(frames=frames)
        if divisor < 1:
            raise UserError(f"divisor must be positive, not {divisor}")
        self.divisor = divisor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips; the class docstring gives the shapes."""
        return shift(x, frames=self.frames, part=x.shape[1] // self.divisor)

    def extra_repr(self) -> str:
        """Show T and the settings when the network is printed."""
        return f"{super().extra_repr()}, divisor={self.divisor}"


def shift_weights(channels: int, *, taps: int, part: int) -> torch.Tensor:
    """Return the weights [C, K] of a depthwise convolution along time that shifts as `TemporalShift` does.

    The first `part` channels read the next frame, the next `part` channels the previous frame, and the rest
    the current frame.
    """
    chosen = torch.full((channels,), taps // 2)
    chosen[:part] += 1
    chosen[part : 2 * part] -= 1
    weights = torch.zeros(channels, taps)
    weights[torch.arange(channels), chosen] = 1.0
    return weights

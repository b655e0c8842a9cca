"""Online TSM: some channels come from the previous frame, none from the next, so that frames can be streamed.

    Y[n, t, c] = X[n, t - 1, c]  for c < C/8        X[n, t, c] else

X is zero before the clip. Lin, Gan, Han: TSM, ICCV 2019, section 4.2 (uni-directional shift). In a stream,
the module keeps the shifted channels of the last frame, so that each frame is computed once
(inference/online.py).
"""

import torch

from tanet.errors import UserError
from tanet.models.temporal.clip_module import ClipModule
from tanet.ops import as_clips


class OnlineShift(ClipModule):
    """Temporal shift from the past alone, [N·T, C, H, W] → [N·T, C, H, W]; no parameters.

    Args:
        frames: T, frames per clip.
        divisor: C/divisor channels come from the previous frame.
    """

    def __init__(self, *, frames: int, divisor: int = 8) -> None:
        super().__init__(frames=frames)
        if divisor < 1:
            raise UserError(f"divisor must be positive, not {divisor}")
        self.divisor = divisor
        self.streams = False
        """Whether the rows of the input are single frames that follow those of the last call."""
        self._past: torch.Tensor | None = None

    def start_stream(self) -> None:
        """Take single frames from now on. The frame before the first one is zero."""
        self.streams, self._past = True, None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips; the class docstring gives the shapes."""
        part = x.shape[1] // self.divisor
        if self.streams:
            past = torch.zeros_like(x[:, :part]) if self._past is None else self._past
            self._past = x[:, :part].clone()
            return torch.cat([past, x[:, part:]], 1)
        clips = as_clips(x, self.frames)  # [N, T, C, H, W]
        if torch.compiler.is_exporting():  # ExecuTorch cannot lower assignments to slices
            past = torch.cat([torch.zeros_like(clips[:, :1, :part]), clips[:, :-1, :part]], 1)
            return torch.cat([past, clips[:, :, part:]], 2).flatten(0, 1)
        shifted = clips.clone()
        shifted[:, 1:, :part] = clips[:, :-1, :part]
        shifted[:, 0, :part] = 0
        return shifted.flatten(0, 1)

    def extra_repr(self) -> str:
        """Show T and the settings when the network is printed."""
        return f"{super().extra_repr()}, divisor={self.divisor}"

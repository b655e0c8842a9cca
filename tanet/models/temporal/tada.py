"""TAda2D: a 3×3 convolution whose kernels are scaled for each frame, and whose outputs are pooled over time.

    s[n, t] = mean of X over H, W,    g[n] = mean of s over t
    α = 1 + W_b ∗ ReLU(BN(W_a ∗ (s + W_g g)))                     W_a, W_b: convolutions over 3 frames
    Z = W ∗ (α · X),   Y = BN(Z) + BN'(mean of Z over 3 frames)       W, BN: the block's own

To scale input channel c of W by α[c] is the same as to scale channel c of X, so W stays as it is. W_b and the
scale of BN' start at zero: the network starts as the 2D network. Huang et al., "TAda! Temporally-Adaptive
Convolutions for Video Understanding", ICLR 2022.
"""

import torch
from torch import nn
from torch.nn import functional as F

from tanet.models.temporal.clip_module import ClipModule
from tanet.models.temporal.tam_branches import rows_to_clips
from tanet.models.temporal.temporal_conv import TemporalPool
from tanet.ops import squeeze


class Calibration(ClipModule):
    """Scale each channel of each frame by α, [N·T, C, H, W] → [N·T, C, H, W].

    Args:
        channels: C.
        frames: T, frames per clip.
        reduction: W_a reduces C channels to C / reduction.
    """

    taps = 1
    """Multiply-adds per output element."""

    def __init__(self, channels: int, *, frames: int, reduction: int = 4) -> None:
        super().__init__(frames=frames)
        narrow = max(1, channels // reduction)
        self.g = nn.Conv1d(channels, channels, 1)
        self.a = nn.Conv1d(channels, narrow, 3, padding=1)
        self.norm = nn.BatchNorm1d(narrow)
        self.b = nn.Conv1d(narrow, channels, 3, padding=1, bias=False)
        nn.init.zeros_(self.b.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale the frames of all clips; the class docstring gives the shapes."""
        s = rows_to_clips(squeeze(x), self.frames)  # [N, C, T]
        hidden = F.relu(self.norm(self.a(s + self.g(s.mean(2, keepdim=True)))))
        alpha = 1 + self.b(hidden)  # [N, C, T]
        return x * alpha.mT.flatten(0, 1)[:, :, None, None].to(x.dtype)


class PooledNorm(ClipModule):
    """Mean over 3 frames, and BatchNorm, [N·T, C, H, W] → [N·T, C, H, W]. Frames outside the clip are zero.

    Args:
        channels: C.
        frames: T, frames per clip.
    """

    def __init__(self, channels: int, *, frames: int) -> None:
        super().__init__(frames=frames)
        self.pool = TemporalPool(frames=frames)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips; the class docstring gives the shapes."""
        return self.norm(self.pool(x))

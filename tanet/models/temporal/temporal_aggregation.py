"""TAM of the IBM papers, temporal *aggregation*: each channel has fixed weights for the frames t-1, t, t+1.

    Y[n, t, c] = ReLU(Σ_k w[c, k] · X[n, t + k - 1, c]),  zero outside the clip

Fan, Chen, Kuehne, Pistoia, Cox: More Is Less: Learning Efficient Video Representations by Big-Little Network
and Depthwise Temporal Aggregation, NeurIPS 2019. There it is written as three depthwise 1×1 convolutions, one
a frame, whose outputs are moved and summed, and stands before conv1 in the residual branch. Not to be
confused with the temporal *adaptive* module (tam.py), whose weights each clip makes for itself.
"""

import torch
from torch import nn

from tanet.models.temporal.clip_module import ClipModule
from tanet.ops import adaptive_conv, as_clips


class TemporalAggregation(ClipModule):
    """Temporal aggregation module, [N·T, C, H, W] → [N·T, C, H, W].

    It starts as a ReLU of the frame itself, which is the plain network where features passed a ReLU before.
    (The published code draws its weights at random and trains from there.)

    Args:
        channels: C.
        frames: T, the frames of a clip.
    """

    taps = 3
    """Multiply-adds for each element that comes out."""

    def __init__(self, channels: int, *, frames: int) -> None:
        super().__init__(frames=frames)
        self.weight = nn.Parameter(torch.tensor([0.0, 1.0, 0.0]).repeat(channels, 1))  # [C, 3]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips; the shapes stand at the class."""
        kernel = self.weight.expand(as_clips(x, self.frames).shape[0], -1, -1)  # [N, C, 3]
        return adaptive_conv(x, kernel).relu()

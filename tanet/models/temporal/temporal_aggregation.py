"""Temporal *aggregation* module, called TAM in papers from IBM. Its weights are the same for all clips.

    Y[n, t, c] = ReLU(Σ_k w[c, k] · X[n, t + k - 1, c]),  zero outside the clip

Fan, Chen, Kuehne, Pistoia, Cox: More Is Less: Learning Efficient Video Representations by Big-Little Network
and Depthwise Temporal Aggregation, NeurIPS 2019. The paper writes the same Y as three depthwise 1×1
convolutions, one per frame, whose outputs are shifted in time and summed. The module is inserted before conv1
in the residual branch. The temporal *adaptive* module (tam.py) is a different module, which computes its
weights from each clip.
"""

import torch
from torch import nn

from tanet.models.temporal.clip_module import ClipModule
from tanet.ops import adaptive_conv, as_clips


class TemporalAggregation(ClipModule):
    """Temporal aggregation module, [N·T, C, H, W] → [N·T, C, H, W].

    At initialisation, the module only applies a ReLU to each frame. If another ReLU precedes the module, the
    module changes nothing, so the network starts as the plain 2D network. (The published code initialises the
    weights at random.)

    Args:
        channels: C.
        frames: T, frames per clip.
    """

    taps = 3
    """Multiply-adds per output element."""

    def __init__(self, channels: int, *, frames: int) -> None:
        super().__init__(frames=frames)
        self.weight = nn.Parameter(torch.tensor([0.0, 1.0, 0.0]).repeat(channels, 1))  # [C, 3]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips; the class docstring gives the shapes."""
        kernel = self.weight.expand(as_clips(x, self.frames).shape[0], -1, -1)  # [N, C, 3]
        return adaptive_conv(x, kernel).relu()

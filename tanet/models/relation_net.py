"""RelationNet: a 2D network whose frames are combined by relations (TRN), not by an average.

clips [B, T, 3, H, W] → 2D network [B·T, F] → linear layer [B, T, D] → relations → logits [B, classes]
"""

from typing import Literal

import torch
from torch import nn

from tanet.models.heads import RelationClassifier, Relations
from tanet.models.video_net import VideoNet
from tanet.recipes.input_spec import IMAGENET, InputSpec


class RelationNet(VideoNet):
    """2D network whose frames are related: [B, T, 3, H, W] → [B, classes].

    Args:
        backbone: 2D network, images [B·T, 3, H, W] → features [B·T, F].
        features: F, width of the backbone's output.
        frames: T, frames per clip.
        classes: number of classes.
        dropout: dropout probability of the backbone's output.
        input_spec: how clips must be normalised.
        width: D, number of features of a frame.
        multiscale: whether subsets of all sizes are related (multi-scale TRN).
        draw: how subsets are drawn in evaluation mode; see heads.py.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        features: int,
        frames: int,
        classes: int,
        dropout: float = 0.8,
        input_spec: InputSpec = IMAGENET,
        width: int = 256,
        multiscale: bool = True,
        draw: Literal["same", "published"] = "same",
    ) -> None:
        super().__init__(
            backbone, features=features, frames=frames, classes=1, dropout=dropout, input_spec=input_spec
        )
        self.frame_layer = nn.Linear(features, width)
        nn.init.normal_(self.frame_layer.weight, std=0.001)
        nn.init.zeros_(self.frame_layer.bias)
        self.relations = Relations(width, frames=frames, multiscale=multiscale, draw=draw)
        self.head = RelationClassifier(self.relations, classes=classes)

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """Relate the frames of each clip: [B, T, 3, H, W] → features of relations [B, F']."""
        frames = self.frame_layer(self.dropout(self._frame_features(clips)))
        return self.relations(frames.unflatten(0, (-1, self.frames)))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Classify clips: [B, T, 3, H, W] → logits [B, classes]."""
        return self.head(self.features(clips))

"""Interface of all networks, which map clips to logits and give access to the features and the classifier.

    network(clips)             [B, T, 3, H, W] → logits [B, classes]
    network.features(clips)    input of the classifier, [B, F]
    network.head(features)     logits [B, classes]

In evaluation mode `head(features(clips))` equals `network(clips)` up to rounding.
"""

import torch
from torch import nn

from tanet.recipes.input_spec import IMAGENET, InputSpec


class Network(nn.Module):
    """Base class of all networks. Subclasses define the classifier `head`: [B, F] → logits [B, classes].

    Args:
        frames: T, frames per clip.
        input_spec: how clips must be normalised, and the frame step and frame size the network is meant for.
    """

    def __init__(self, *, frames: int, input_spec: InputSpec = IMAGENET) -> None:
        super().__init__()
        self.frames, self.input_spec = frames, input_spec

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the input of the classifier: normalised clips [B, T, 3, H, W] → features [B, F]."""
        raise NotImplementedError

    def check_clips(self, clips: torch.Tensor) -> None:
        """Raise ValueError unless the clips have the shape [B, T, 3, H, W], where T is `frames`."""
        if clips.ndim != 5 or clips.shape[1] != self.frames:
            raise ValueError(f"expected clips [B, {self.frames}, 3, H, W], not {list(clips.shape)}")

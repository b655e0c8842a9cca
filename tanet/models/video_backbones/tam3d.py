"""TAM in a network with three-dimensional convolutions, in the place of their 3×1×1 kernels.

    3×1×1 convolution, BN, ReLU    →    1×1×1 convolution, BN, ReLU, TAM

Section 4.4 of the TAM paper proposes this for SlowFast, without details. The TAM stands where it does in
TANet's blocks (position b): before the spatial convolution.
"""

from collections.abc import Callable
from functools import partial

import torch

from tanet.models.temporal.tam import TAM
from tanet.recipes.networks3d import ResNet3D, SlowFast


class TAM3d(TAM):
    """Temporal adaptive module for maps [B, C, T, H, W] → [B, C, T, H, W]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips. Maps in the format channels-last need no copy."""
        clips = x.shape[0]
        return super().forward(frames_of(x)).unflatten(0, (clips, -1)).transpose(1, 2)


MakeTAM = Callable[[int], TAM3d]


def tam_maker(model: ResNet3D | SlowFast, *, frames: int) -> MakeTAM | None:
    """Return a function that makes TAMs of a given number of channels, or None if the network has no TAMs."""
    if model.temporal != "tam":
        return None
    return partial(
        TAM3d, frames=frames, static_kernel=model.static_kernel, static_strength=model.static_strength
    )


def frames_of(maps: torch.Tensor) -> torch.Tensor:
    """Turn maps [B, C, T, H, W] into the maps of their frames, [B·T, C, H, W]."""
    return maps.transpose(1, 2).flatten(0, 1)

"""Preparation of frames inside an exported network: resize, crop and normalise.

    frames as decoded, uint8 [B, T, H, W, 3]  →  normalised clips, float32 [B, T, 3, S, S]

The sizes are computed with integers that may be traced, because H and W of an exported network are dynamic.
The result is that of the test views with one crop (data/transforms.py), within one grey level, because
runtimes round resized pixels differently. In the styles mmaction2 and pyslowfast, about one frame size in
3,000 is resized to a longer side that is one pixel off, because the styles round quotients.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from tanet.data.normalisation import normalise
from tanet.models.network import Network
from tanet.recipes.recipe import Eval


class FrameInput(nn.Module):
    """A network that prepares its own clips: uint8 frames [B, T, H, W, 3] → logits [B, classes].

    Args:
        network: network for RGB clips.
        eval: the module uses `resize`, `resize_width`, `size` and `style`, and cuts the centre crop.
    """

    def __init__(self, network: Network, eval: Eval) -> None:
        super().__init__()
        self.network, self.cut = network, eval
        self.frames, self.channels = network.frames, network.channels

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Prepare and classify clips."""
        return self.network(normalise(self.views(frames), self.network.input_spec))

    def changed_by_one_level(self, frames: torch.Tensor) -> torch.Tensor:
        """Make all pixels one grey level brighter, then darker, and return the logits that change more."""
        views = self.views(frames).float()
        plain, *changed = (
            self.network(normalise((views + step).clamp(0, 255), self.network.input_spec))
            for step in (0, 1, -1)
        )
        return max(changed, key=lambda logits: float((logits - plain).abs().max()))

    def views(self, frames: torch.Tensor) -> torch.Tensor:
        """Resize and crop frames: uint8 [B, T, H, W, 3] → uint8 [B, T, 3, S, S]."""
        eval, size = self.cut, self.cut.size
        pictures = frames.flatten(0, 1).permute(0, 3, 1, 2)
        # First resize, then cut a crop of constant size: a crop of symbolic size could not be resized.
        height, width = resized_sides(pictures.shape[2], pictures.shape[3], eval)
        if eval.style in ("mmaction2", "pyslowfast"):
            # Some runtimes round down if the pixels are integers.
            pictures = F.interpolate(pictures.float(), (height, width), mode="bilinear").round()
        else:
            pictures = F.interpolate(pictures, (height, width), mode="bilinear", antialias=True)
        top, left = (centre_offset(side - size, eval.style) for side in (height, width))
        views = pictures.narrow(2, top, size).narrow(3, left, size)
        return views.reshape(-1, self.frames, 3, size, size)


def resized_sides(height: int, width: int, eval: Eval) -> tuple[int, int]:
    """Return height and width of resized frames, as `size_for_short_side`, for sizes that are traced."""
    if eval.resize_width:
        return eval.resize, eval.resize_width
    short: Any = torch.sym_min(height, width)
    if eval.style == "mmaction2":  # to the nearest integer
        return tuple((2 * eval.resize * side + short) // (2 * short) for side in (height, width))
    return eval.resize * height // short, eval.resize * width // short


def centre_offset(free: int, style: str) -> int:
    """Return where the centre crop starts along a side with `free` pixels outside it."""
    if style == "mmaction2":
        return free // 2
    if style == "pyslowfast":
        return (free + 1) // 2
    return free // 2 + (free % 4) // 3  # Python's round(free / 2): half to even

"""Boxes of regions in videos, cropped and mirrored with the frames of a clip.

A box is x1, y1, x2, y2 as fractions of the width and the height of what the network sees. Frames are padded
to the same number of boxes with boxes of zero area.
"""

import numpy as np
import torch

from tanet.data import transforms
from tanet.data.box_file import VideoBoxes
from tanet.data.transforms import Box, CropSpec
from tanet.recipes.recipe import Eval


def boxes_of_frames(
    found: VideoBoxes | None, indices: np.ndarray, *, height: int, width: int, most: int
) -> torch.Tensor:
    """Return the boxes of every second frame of clips, as fractions of the frame: [V, T] → [V, ⌈T/2⌉, R, 4].

    Args:
        found: the boxes of the video; None for none.
        indices: numbers of the frames of the clips.
        height: height of the video, in pixels.
        width: width of the video, in pixels.
        most: R, number of boxes of a frame.
    """
    seen = indices[:, ::2]
    if found is None:
        return torch.zeros(*seen.shape, most, 4)
    flat = found.at(seen.reshape(-1), height=height, width=width)
    return flat.unflatten(0, seen.shape)


def crop_boxes(
    boxes: torch.Tensor, *, height: int, width: int, box: Box, mirrored: bool = False
) -> torch.Tensor:
    """Return boxes as fractions of a crop: [..., 4] → [..., 4]. What is outside is cut off.

    Args:
        boxes: boxes as fractions of the frame.
        height: height of the frame that is cropped, in pixels.
        width: its width, in pixels.
        box: the crop.
        mirrored: whether the crop is mirrored.
    """
    pixels = boxes * torch.tensor([width, height, width, height])
    start = torch.tensor([box.left, box.top, box.left, box.top])
    cut = ((pixels - start) / torch.tensor([box.width, box.height, box.width, box.height])).clamp(0, 1)
    if mirrored:
        x1, y1, x2, y2 = cut.unbind(-1)
        cut = torch.stack((1 - x2, y1, 1 - x1, y2), -1)
    return cut


def train_boxes(boxes: torch.Tensor, cut: CropSpec) -> torch.Tensor:
    """Convert boxes from fractions of the frame to fractions of the training crop: [T, R, 4] → [T, R, 4]."""
    return crop_boxes(boxes, height=cut.height, width=cut.width, box=cut.box, mirrored=cut.mirrored)


def view_boxes(boxes: torch.Tensor, *, height: int, width: int, eval: Eval) -> torch.Tensor:
    """Return the boxes of test views, as `eval_views` cuts them: [V, T, R, 4] → [V·crops, T, R, 4].

    Args:
        boxes: boxes as fractions of the frames.
        height: height of the video, in pixels.
        width: its width, in pixels.
        eval: number, size and style of the crops.
    """
    if eval.resize_width:
        height, width = eval.resize, eval.resize_width
    else:
        height, width = transforms.size_for_short_side(height, width, eval.resize, style=eval.style)
    crops = transforms.eval_boxes(height, width, size=eval.size, crops=eval.crops, style=eval.style)
    parts = [
        crop_boxes(boxes, height=height, width=width, box=box, mirrored=mirrored)
        for box in crops
        for mirrored in ((False, True) if eval.crops == 10 else (False,))
    ]
    return torch.stack(parts, 1).flatten(0, 1)

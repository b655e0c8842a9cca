"""Transforms from frames to views: crop, mirror and normalise; pure functions on uint8 [T, H, W, 3].

Views stay uint8 until they are on the computing device: uint8 has a quarter of the bytes of float32 to copy,
and `normalise` costs nothing there. Resizing is bilinear with antialiasing, like that of PIL, which the
published code used.
"""

import re
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal

import numpy as np
import torch
from torch.nn import functional as F

from tanet.errors import UserError
from tanet.recipes.input_spec import IMAGENET, InputSpec

# The 13 positions of a crop, as (down, right) in quarters of the margin around it. The first line has the
# corners and the centre, the second the edge midpoints, the third the quarter points.
CROP_POSITIONS = (
    *((0, 0), (0, 4), (4, 0), (4, 4), (2, 2)),
    *((2, 0), (2, 4), (4, 2), (0, 2)),
    *((1, 1), (1, 3), (3, 1), (3, 3)),
)


@dataclass(frozen=True)
class Box:
    """Crop box, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class CropSpec:
    """Parameters of a training view: the frames are resized, cropped to the box, and mirrored or not."""

    height: int
    """Height of the resized frames, in pixels."""
    width: int
    box: Box
    mirrored: bool


def draw_crop(
    height: int,
    width: int,
    *,
    generator: np.random.Generator,
    resize: int = 256,
    scales: tuple[float, ...] = (1.0, 0.875, 0.75, 0.66),
    flip: bool = True,
) -> CropSpec:
    """Draw a multi-scale crop and a random mirroring (TSN), for frames of height × width pixels.

    Args:
        height: H.
        width: W.
        generator: random generator of crop and mirroring.
        resize: short side before the crop, in pixels; 0 keeps the frames' size, as the published code does.
        scales: sides of the crop as fractions of the short side.
        flip: mirror with probability 1/2; False never mirrors.
    """
    height, width = size_for_short_side(height, width, resize) if resize else (height, width)
    box = multi_scale_box(height, width, scales=scales, generator=generator)
    return CropSpec(height, width, box, bool(flip and generator.random() < 0.5))


def train_view(frames: torch.Tensor, cut: CropSpec, *, size: int) -> torch.Tensor:
    """Make one view of a clip, with the same crop in all frames: uint8 [T, H, W, 3] → uint8 [T, 3, S, S].

    `gpu_transforms.make_views` does the same for a whole batch.
    """
    frames = _resize(frames, cut.height, cut.width).permute(0, 2, 3, 1)
    view = _resize(_crop(frames, cut.box), size, size)  # [T, 3, S, S]
    return (view.flip(-1) if cut.mirrored else view).contiguous()


def eval_views(frames: torch.Tensor, *, resize: int, size: int, crops: Literal[1, 3] = 1) -> torch.Tensor:
    """Cut the centre crop, or three crops along the longer side.

    Args:
        frames: clips of one video, uint8 [V, T, H, W, 3].
        resize: short side, in pixels.
        size: S, side of the crops in pixels; at most `resize`.
        crops: 1 for the centre; 3 for left, centre, right (in a portrait video top, centre, bottom).

    Returns:
        uint8 [V·crops, T, 3, S, S]; the crops of a clip are consecutive.
    """
    if size > resize:
        raise UserError(f"a crop of {size} does not fit into a short side of {resize}")
    clips = frames.shape[0]
    resized = resize_short_side(frames.flatten(0, 1), resize)  # [V·T, H, W, 3]
    boxes = eval_boxes(*resized.shape[1:3], size=size, crops=crops)
    views = torch.stack([_crop(resized, box) for box in boxes])  # [crops, V·T, S, S, 3]
    return views.unflatten(1, (clips, -1)).permute(1, 0, 2, 5, 3, 4).flatten(0, 1).contiguous()


def normalise(views: torch.Tensor, spec: InputSpec = IMAGENET) -> torch.Tensor:
    """Normalise RGB pixels, uint8 [..., 3, H, W], for a network: float32 of the same shape."""
    if spec.channels == "bgr":
        views = views.flip(-3)
    mean, std = _constants(views.device, spec)
    return (views.float() - mean) / std


@cache
@torch.inference_mode(False)
def _constants(device: torch.device, spec: InputSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation in pixel values, [3, 1, 1], cached on the device.

    Copying them with every batch would make the host wait for the device.
    """
    low, high = spec.range
    mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (spec.mean, spec.std))
    return 255 * (mean - low) / (high - low), 255 * std / (high - low)


def resize_short_side(frames: torch.Tensor, size: int) -> torch.Tensor:
    """Resize uint8 [T, H, W, 3] so that the short side is `size`; the longer side is rounded down."""
    height, width = size_for_short_side(frames.shape[1], frames.shape[2], size)
    return _resize(frames, height, width).permute(0, 2, 3, 1)


def size_for_short_side(height: int, width: int, size: int) -> tuple[int, int]:
    """Return height and width after the short side is resized to `size`."""
    if height <= width:
        return size, int(size * width / height)
    return int(size * height / width), size


def multi_scale_box(
    height: int, width: int, *, scales: tuple[float, ...], generator: np.random.Generator
) -> Box:
    """Draw a crop at one of CROP_POSITIONS.

    Its height and width are the short side times one of `scales` each, at most one entry of `scales` apart.
    """
    sides = [int(min(height, width) * scale) for scale in scales]
    steps = range(len(sides))
    pairs = [(sides[i], sides[j]) for i, j in product(steps, steps) if abs(i - j) <= 1]
    crop_height, crop_width = pairs[generator.integers(len(pairs))]
    down, right = CROP_POSITIONS[generator.integers(len(CROP_POSITIONS))]
    return Box(
        down * ((height - crop_height) // 4), right * ((width - crop_width) // 4), crop_height, crop_width
    )


def eval_boxes(height: int, width: int, *, size: int, crops: Literal[1, 3]) -> list[Box]:
    """Return the crop boxes of `eval_views`: along the longer side, centred on the shorter one."""
    top, left = round((height - size) / 2), round((width - size) / 2)
    if crops == 1:
        return [Box(top, left, size, size)]
    if crops != 3:
        raise UserError(f"crops must be 1 or 3, not {crops}")
    if width >= height:
        return [Box(top, x, size, size) for x in (0, left, width - size)]
    return [Box(y, left, size, size) for y in (0, top, height - size)]


def mirror_labels(classes: tuple[str, ...]) -> list[int | None]:
    """Return the label of each class after mirroring: the label of the name with left and right exchanged.

    A class without left or right in its name keeps its label. If the exchanged name is not a class, the label
    is None, and the videos of the class cannot be mirrored.

    Raises:
        UserError: the class names are numbers, which do not tell left from right.
    """
    if all(name.isdigit() for name in classes):
        raise UserError(
            "the classes need names, so that mirrored videos get the right labels (--data.class-names); "
            "or choose --data.flip none or plain"
        )
    numbers = {name: label for label, name in enumerate(classes)}
    return [numbers.get(_mirrored(name)) for name in classes]


def _mirrored(name: str) -> str:
    pairs = (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"))
    other = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    # Match whole words, also within turnLeft and turn_left, but not within bright or leftover.
    pattern = r"(?<![A-Za-z])(left|right)(?![a-z])|(Left|Right)(?![a-z])|(?<![A-Z])(LEFT|RIGHT)(?![A-Z])"
    return re.sub(pattern, lambda word: other[word[0]], name)


def _crop(frames: torch.Tensor, box: Box) -> torch.Tensor:
    return frames[:, box.top : box.top + box.height, box.left : box.left + box.width]


def _resize(frames: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resize uint8 [T, H, W, 3] → uint8 [T, 3, height, width]."""
    images = frames.permute(0, 3, 1, 2)
    if images.shape[2:] == (height, width):
        return images
    return F.interpolate(images, (height, width), mode="bilinear", antialias=True)

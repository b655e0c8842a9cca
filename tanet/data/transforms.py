"""From frames to views: crops, mirror and normalisation, pure functions on uint8 [T, H, W, 3].

Views stay uint8 until they are on the device that computes: a quarter of the bytes to move, and `normalise`
costs nothing there. Resizing is bilinear with antialiasing, as PIL's, which the published code used.
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

# The 13 places of a crop, in quarters of the room that it leaves (down, right): corners and centre,
# edge middles, quarter points.
CROP_POSITIONS = (
    *((0, 0), (0, 4), (4, 0), (4, 4), (2, 2)),
    *((2, 0), (2, 4), (4, 2), (0, 2)),
    *((1, 1), (1, 3), (3, 1), (3, 3)),
)


@dataclass(frozen=True)
class Box:
    """A crop, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class CropSpec:
    """How a training view comes out of its frames: they are resized, the box is cut out of them, mirrored."""

    height: int
    """Of the frames once they are resized, in pixels."""
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
    """Multi-scale crop and random mirror (TSN), for frames of height × width pixels.

    Args:
        height: H.
        width: W.
        generator: of the crop and of the coin.
        resize: short side before the crop; 0 leaves the frames as they are, as the published code does.
        scales: sides of the crop as parts of the short side.
        flip: whether the coin is thrown.
    """
    height, width = size_for_short_side(height, width, resize) if resize else (height, width)
    box = multi_scale_box(height, width, scales=scales, generator=generator)
    return CropSpec(height, width, box, bool(flip and generator.random() < 0.5))


def train_view(frames: torch.Tensor, cut: CropSpec, *, size: int) -> torch.Tensor:
    """One view of a clip, the same for all its frames: uint8 [T, H, W, 3] → uint8 [T, 3, S, S].

    `device_views.make_views` makes the same of a whole batch.
    """
    frames = _resize(frames, cut.height, cut.width).permute(0, 2, 3, 1)
    view = _resize(_crop(frames, cut.box), size, size)  # [T, 3, S, S]
    return (view.flip(-1) if cut.mirrored else view).contiguous()


def eval_views(frames: torch.Tensor, *, resize: int, size: int, crops: Literal[1, 3] = 1) -> torch.Tensor:
    """The centre crop, or three crops along the longer side.

    Args:
        frames: clips of one video, uint8 [V, T, H, W, 3].
        resize: short side, in pixels.
        size: S, side of the crops in pixels; at most `resize`.
        crops: 1, or 3: left, centre, right (for a portrait video top, centre, bottom).

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
    """Turn RGB pixels, uint8 [..., 3, H, W], into what a network expects: float32 of the same shape."""
    if spec.channels == "bgr":
        views = views.flip(-3)
    mean, std = _constants(views.device, spec)
    return (views.float() - mean) / std


@cache
@torch.inference_mode(False)
def _constants(device: torch.device, spec: InputSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and deviation in pixel values, [3, 1, 1], kept on the device.

    Sending them with every batch would make the host wait for the device.
    """
    low, high = spec.range
    mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (spec.mean, spec.std))
    return 255 * (mean - low) / (high - low), 255 * std / (high - low)


def resize_short_side(frames: torch.Tensor, size: int) -> torch.Tensor:
    """uint8 [T, H, W, 3] → the short side is `size`, the longer one in proportion (rounded down)."""
    height, width = size_for_short_side(frames.shape[1], frames.shape[2], size)
    return _resize(frames, height, width).permute(0, 2, 3, 1)


def size_for_short_side(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width of such frames once their short side is `size`."""
    if height <= width:
        return size, int(size * width / height)
    return int(size * height / width), size


def multi_scale_box(
    height: int, width: int, *, scales: tuple[float, ...], generator: np.random.Generator
) -> Box:
    """A random crop: sides from `scales` × the short side, at most one step apart, at a fixed place."""
    sides = [int(min(height, width) * scale) for scale in scales]
    steps = range(len(sides))
    pairs = [(sides[i], sides[j]) for i, j in product(steps, steps) if abs(i - j) <= 1]
    crop_height, crop_width = pairs[generator.integers(len(pairs))]
    down, right = CROP_POSITIONS[generator.integers(len(CROP_POSITIONS))]
    return Box(
        down * ((height - crop_height) // 4), right * ((width - crop_width) // 4), crop_height, crop_width
    )


def eval_boxes(height: int, width: int, *, size: int, crops: Literal[1, 3]) -> list[Box]:
    """Where `eval_views` cuts: along the longer side, centred on the shorter."""
    top, left = round((height - size) / 2), round((width - size) / 2)
    if crops == 1:
        return [Box(top, left, size, size)]
    if crops != 3:
        raise UserError(f"crops are 1 or 3, not {crops}")
    if width >= height:
        return [Box(top, x, size, size) for x in (0, left, width - size)]
    return [Box(y, left, size, size) for y in (0, top, height - size)]


def mirror_labels(classes: tuple[str, ...]) -> list[int | None]:
    """The label of each class in the mirror: of the name with left and right exchanged, else its own.

    None for a class whose mirrored name is no class: its videos can not be mirrored.

    Raises:
        UserError: the classes have numbers for names, which do not tell left from right.
    """
    if all(name.isdigit() for name in classes):
        raise UserError(
            "to exchange the labels of mirrored videos the classes need names (--data.class-names), "
            "or choose --data.flip none or plain"
        )
    numbers = {name: label for label, name in enumerate(classes)}
    return [numbers.get(_mirrored(name)) for name in classes]


def _mirrored(name: str) -> str:
    pairs = (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"))
    other = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    # A word, also within turnLeft and turn_left; not within bright or leftover.
    pattern = r"(?<![A-Za-z])(left|right)(?![a-z])|(Left|Right)(?![a-z])|(?<![A-Z])(LEFT|RIGHT)(?![A-Z])"
    return re.sub(pattern, lambda word: other[word[0]], name)


def _crop(frames: torch.Tensor, box: Box) -> torch.Tensor:
    return frames[:, box.top : box.top + box.height, box.left : box.left + box.width]


def _resize(frames: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """uint8 [T, H, W, 3] → uint8 [T, 3, height, width]."""
    images = frames.permute(0, 3, 1, 2)
    if images.shape[2:] == (height, width):
        return images
    return F.interpolate(images, (height, width), mode="bilinear", antialias=True)

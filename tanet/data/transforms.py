"""Pure functions that turn frames, uint8 [T, H, W, 3], into views: resize, crop, mirror and normalise.

Views stay uint8 until they are on the device of the network. There are two reasons: a copy of uint8 moves
only a quarter of the bytes of float32, and `normalise` costs nothing on the device. Resizing is bilinear with
antialiasing, like the resizing in PIL, which the published code used.
"""

import re
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Literal

import numpy as np
import torch
from torch.nn import functional as F

from tanet.data.frame_sampling import Style
from tanet.errors import UserError
from tanet.recipes.input_spec import IMAGENET, InputSpec

# The 13 positions of a crop, as offsets (down, right). The unit is a quarter of frame size minus crop size.
# Line 1 lists the corners and the centre, line 2 the midpoints of the edges, line 3 the quarter points.
CROP_POSITIONS = (
    *((0, 0), (0, 4), (4, 0), (4, 4), (2, 2)),
    *((2, 0), (2, 4), (4, 2), (0, 2)),
    *((1, 1), (1, 3), (3, 1), (3, 3)),
)


@dataclass(frozen=True)
class Box:
    """Position and size of a crop in a frame, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class CropSpec:
    """Parameters of a training view: size of the resized frames, crop box, and whether to mirror."""

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
    snap: tuple[int, int] = (0, 0),
) -> CropSpec:
    """Draw a random multi-scale crop, and draw whether to mirror, as in TSN.

    Args:
        height: height of the decoded frames, in pixels.
        width: width of the decoded frames, in pixels.
        generator: generator of the random numbers.
        resize: short side to which frames are resized before the crop, in pixels. 0 keeps the size of the
            frames, as the published code does.
        scales: possible sides of the crop, as fractions of the short side.
        flip: True mirrors with probability 1/2; False never mirrors.
        snap: (size, pixels). A side of the crop within `pixels` of `size` becomes `size`.
    """
    height, width = size_for_short_side(height, width, resize) if resize else (height, width)
    box = multi_scale_box(height, width, scales=scales, generator=generator, snap=snap)
    return CropSpec(height, width, box, bool(flip and generator.random() < 0.5))


def draw_jittered_crop(
    height: int,
    width: int,
    *,
    generator: np.random.Generator,
    short_sides: tuple[int, ...],
    size: int,
    flip: bool = True,
) -> CropSpec:
    """Draw the short side of the frames, the position of a crop, and whether to mirror, as in PySlowFast.

    Args:
        height: height of the decoded frames, in pixels.
        width: width of the decoded frames, in pixels.
        generator: generator of the random numbers.
        short_sides: smallest and largest short side of the resized frames, in pixels.
        size: side of the crop, in pixels; at most the smallest short side.
        flip: True mirrors with probability 1/2; False never mirrors.
    """
    low, high = short_sides
    height, width = size_for_short_side(height, width, round(generator.uniform(low, high)))
    top, left = (int(generator.integers(side - size + 1)) for side in (height, width))
    return CropSpec(height, width, Box(top, left, size, size), bool(flip and generator.random() < 0.5))


def train_view(frames: torch.Tensor, cut: CropSpec, *, size: int) -> torch.Tensor:
    """Make one training view of a clip: uint8 [T, H, W, 3] → uint8 [T, 3, S, S].

    All frames are resized, cropped and mirrored in the same way.
    `gpu_transforms.make_views` makes the same views on the device, for a whole batch.
    """
    frames = _resize(frames, cut.height, cut.width).permute(0, 2, 3, 1)
    view = _resize(_crop(frames, cut.box), size, size)  # [T, 3, S, S]
    return (view.flip(-1) if cut.mirrored else view).contiguous()


def eval_views(
    frames: torch.Tensor, *, resize: int, size: int, crops: Literal[1, 3] = 1, style: Style = "tanet"
) -> torch.Tensor:
    """Cut the centre crop of each clip, or three crops along the longer side.

    Args:
        frames: V clips of one video, uint8 [V, T, H, W, 3].
        resize: short side to which frames are resized before the crop, in pixels.
        size: S, side of the crops in pixels; at most `resize`.
        crops: 1 cuts the centre. 3 cuts left, centre and right; in a portrait video top, centre and bottom.

        style: whose rules place the crops; see `eval_boxes`.

    Returns:
        The views, uint8 [V·crops, T, 3, S, S]. The crops of a clip are consecutive.
    """
    if size > resize:
        raise UserError(f"a crop of {size} pixels does not fit into a short side of {resize} pixels")
    clips = frames.shape[0]
    resized = resize_short_side(frames.flatten(0, 1), resize, style=style)  # [V·T, H, W, 3]
    boxes = eval_boxes(*resized.shape[1:3], size=size, crops=crops, style=style)
    views = torch.stack([_crop(resized, box) for box in boxes])  # [crops, V·T, S, S, 3]
    return views.unflatten(1, (clips, -1)).permute(1, 0, 2, 5, 3, 4).flatten(0, 1).contiguous()


def normalise(views: torch.Tensor, spec: InputSpec = IMAGENET) -> torch.Tensor:
    """Normalise RGB pixels for a network: uint8 [..., 3, H, W] → float32 [..., 3, H, W]."""
    if spec.channels == "bgr":
        views = views.flip(-3)
    mean, std = _constants(views.device, spec)
    return (views.float() - mean) / std


@cache
@torch.inference_mode(False)
def _constants(device: torch.device, spec: InputSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean and the standard deviation of pixel values on the device, each [3, 1, 1].

    The two tensors are cached, because copying them with every batch would make the host wait for the device.
    """
    low, high = spec.range
    mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (spec.mean, spec.std))
    return 255 * (mean - low) / (high - low), 255 * std / (high - low)


def resize_short_side(frames: torch.Tensor, size: int, *, style: Style = "tanet") -> torch.Tensor:
    """Resize frames, uint8 [T, H, W, 3], to a short side of `size` pixels.

    mmaction2 resizes without antialiasing, as OpenCV does; so does PySlowFast, but with float32 values. The
    views hold these values rounded to the nearest integer.
    """
    height, width = size_for_short_side(frames.shape[1], frames.shape[2], size, style=style)
    if style == "pyslowfast":
        # One frame at a time, because all frames as float32 would take much memory.
        resized = (_resize(frame.float(), height, width, antialias=False) for frame in frames.split(1))
        return torch.cat([frame.round().to(torch.uint8) for frame in resized]).permute(0, 2, 3, 1)
    return _resize(frames, height, width, antialias=style != "mmaction2").permute(0, 2, 3, 1)


def size_for_short_side(height: int, width: int, size: int, *, style: Style = "tanet") -> tuple[int, int]:
    """Return the height and width of a frame after its short side is resized to `size` pixels.

    The longer side is rounded down; in mmaction2, it is rounded to the nearest integer. PySlowFast computes
    the ratio of the sides first, so that rounding errors can make the longer side one pixel shorter.
    """
    if style == "pyslowfast" and min(height, width) != size:
        return (size, int(width / height * size)) if height <= width else (int(height / width * size), size)
    if style == "mmaction2":
        scale = size / min(height, width)
        return int(height * scale + 0.5), int(width * scale + 0.5)
    if height <= width:
        return size, int(size * width / height)
    return int(size * height / width), size


def multi_scale_box(
    height: int,
    width: int,
    *,
    scales: tuple[float, ...],
    generator: np.random.Generator,
    snap: tuple[int, int] = (0, 0),
) -> Box:
    """Draw a crop box of random size at one of CROP_POSITIONS.

    The height is the short side times one entry of `scales`. The width is the short side times the same entry
    or a neighbouring entry.
    """
    sides = [int(min(height, width) * scale) for scale in scales]
    size, pixels = snap
    sides = [size if abs(side - size) <= pixels else side for side in sides]
    steps = range(len(sides))
    pairs = [(sides[i], sides[j]) for i, j in product(steps, steps) if abs(i - j) <= 1]
    crop_height, crop_width = pairs[generator.integers(len(pairs))]
    down, right = CROP_POSITIONS[generator.integers(len(CROP_POSITIONS))]
    return Box(
        down * ((height - crop_height) // 4), right * ((width - crop_width) // 4), crop_height, crop_width
    )


def eval_boxes(
    height: int, width: int, *, size: int, crops: Literal[1, 3], style: Style = "tanet"
) -> list[Box]:
    """Return the crop boxes for `eval_views`, spread along the longer side of the frame.

    `style` selects the rules of other code. The code of TANet and TSM places three crops in quarters of the
    free space, rounded down, always along the width. So the three crops of a portrait video are equal.
    mmaction2 rounds offsets down, and needs the short side to be `size` for three crops. PySlowFast rounds
    the offsets of the centre up.
    """
    if crops not in (1, 3):
        raise UserError(f"crops must be 1 or 3, not {crops}")
    down, right = height - size, width - size  # free space
    if style == "mmaction2":
        if crops == 1:
            return [Box(down // 2, right // 2, size, size)]
        if down and right:
            raise UserError(f"eval.style mmaction2 cuts three crops if eval.size is eval.resize, not {size}")
        return [Box(y * (down // 2), y * (right // 2), size, size) for y in (0, 2, 1)]
    if style in ("published", "tsm") and crops == 3:
        return [Box(2 * (down // 4), x * (right // 4), size, size) for x in (0, 4, 2)]
    top, left = round(down / 2), round(right / 2)
    if style == "pyslowfast":
        top, left = -(-down // 2), -(-right // 2)
    if crops == 1:
        return [Box(top, left, size, size)]
    if width >= height:
        return [Box(top, x, size, size) for x in (0, left, right)]
    return [Box(y, left, size, size) for y in (0, top, down)]


def mirror_labels(classes: tuple[str, ...]) -> list[int | None]:
    """Return, for each class, the label of its mirrored videos.

    The function exchanges left and right in the name of the class, and returns the label of the new name. A
    name without left or right keeps its label. If no class has the new name, the label is None: videos of
    the class must not be mirrored.

    Raises:
        UserError: all class names are numbers, so the function cannot recognise left and right.
    """
    if all(name.isdigit() for name in classes):
        raise UserError(
            "--data.flip mirror needs the names of the classes to find the labels of mirrored videos: give "
            "--data.class-names, or choose --data.flip none or plain"
        )
    numbers = {name: label for label, name in enumerate(classes)}
    return [numbers.get(_mirrored(name)) for name in classes]


def _mirrored(name: str) -> str:
    pairs = (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"))
    other = {a: b for pair in pairs for a, b in (pair, pair[::-1])}
    # Match left and right as words, also inside turnLeft and turn_left, but not inside bright or leftover.
    pattern = r"(?<![A-Za-z])(left|right)(?![a-z])|(Left|Right)(?![a-z])|(?<![A-Z])(LEFT|RIGHT)(?![A-Z])"
    return re.sub(pattern, lambda word: other[word[0]], name)


def _crop(frames: torch.Tensor, box: Box) -> torch.Tensor:
    return frames[:, box.top : box.top + box.height, box.left : box.left + box.width]


def _resize(frames: torch.Tensor, height: int, width: int, *, antialias: bool = True) -> torch.Tensor:
    """Resize [T, H, W, 3] → [T, 3, height, width]."""
    images = frames.permute(0, 3, 1, 2)
    if images.shape[2:] == (height, width):
        return images
    return F.interpolate(images, (height, width), mode="bilinear", antialias=antialias)

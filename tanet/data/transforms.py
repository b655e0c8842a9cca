"""Pure functions that turn frames, uint8 [T, H, W, C], into views: resize, crop and mirror.

C is 3 for RGB. Optical flow has an even number of channels, x and y of each flow in turn.

Views stay uint8 until they are on the device of the network. There are two reasons: a copy of uint8 moves
only a quarter of the bytes of float32, and normalising costs nothing on the device (normalisation.py).
Resizing is bilinear with antialiasing, like the resizing in PIL, which the published code used.
"""

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import torch
from torch.nn import functional as F

from tanet.data.frame_sampling import Style
from tanet.errors import UserError

Crops = Literal[1, 3, 6, 10]
"""Number of crops of a clip; see `eval_views`."""
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
    resize_width: int = 0,
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
        resize_width: width to which frames are resized, in pixels, if `resize` is their height whatever their
            shape; 0 keeps the shape.
        scales: possible sides of the crop, as fractions of the short side.
        flip: True mirrors with probability 1/2; False never mirrors.
        snap: (size, pixels). A side of the crop within `pixels` of `size` becomes `size`.
    """
    if resize_width:
        height, width = resize, resize_width
    elif resize:
        height, width = size_for_short_side(height, width, resize)
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
    resize_width: int = 0,
) -> CropSpec:
    """Draw the short side of the frames, the position of a crop, and whether to mirror, as in PySlowFast.

    Args:
        height: height of the decoded frames, in pixels.
        width: width of the decoded frames, in pixels.
        generator: generator of the random numbers.
        short_sides: smallest and largest short side of the resized frames, low and high, in pixels.
        size: side of the crop, in pixels; at most the smallest short side.
        flip: True mirrors with probability 1/2; False never mirrors.
        resize_width: width of the resized frames, in pixels, if their height is `low`, whatever their shape;
            in proportion if it is larger. 0 keeps the shape.
    """
    low, high = short_sides
    side = round(generator.uniform(low, high))
    if resize_width:
        height, width = side, resize_width * side // low
    else:
        height, width = size_for_short_side(height, width, side)
    top, left = (int(generator.integers(side - size + 1)) for side in (height, width))
    return CropSpec(height, width, Box(top, left, size, size), bool(flip and generator.random() < 0.5))


def train_view(frames: torch.Tensor, cut: CropSpec, *, size: int) -> torch.Tensor:
    """Make one training view of a clip: uint8 [T, H, W, C] → uint8 [T, C, S, S].

    All frames are resized, cropped and mirrored in the same way.
    `gpu_transforms.make_views` makes the same views on the device, for a whole batch.
    """
    frames = _resize(frames, cut.height, cut.width).permute(0, 2, 3, 1)
    view = _resize(_crop(frames, cut.box), size, size)  # [T, C, S, S]
    return (mirror(view) if cut.mirrored else view).contiguous()


def mirror(images: torch.Tensor) -> torch.Tensor:
    """Mirror images, uint8 or float [..., C, H, W], along the width.

    In optical flow, which has an even number of channels, x also changes its sign: v → 255 - v.
    """
    mirrored = images.flip(-1)
    if images.shape[-3] % 2 == 0:
        mirrored[..., ::2, :, :] = 255 - mirrored[..., ::2, :, :]
    return mirrored


def eval_views(
    frames: torch.Tensor,
    *,
    resize: int,
    size: int,
    crops: Crops = 1,
    style: Style = "tanet",
    resize_width: int = 0,
) -> torch.Tensor:
    """Cut the centre crop of each clip, three or six crops along the longer side, or ten crops.

    Args:
        frames: V clips of one video, uint8 [V, T, H, W, C].
        resize: short side to which frames are resized before the crop, in pixels.
        size: S, side of the crops in pixels; at most `resize`.
        crops: 1 cuts the centre. 3 cuts left, centre and right; in a portrait video top, centre and bottom.
            6 cuts evenly spaced places along the longer side. 10 cuts the corners and the centre, each
            followed by its mirror image.
        style: whose rules place the crops; see `eval_boxes`.
        resize_width: width to which frames are resized, in pixels, if `resize` is their height whatever their
            shape; 0 keeps the shape.

    Returns:
        The views, uint8 [V·crops, T, C, S, S]. The crops of a clip are consecutive.
    """
    if size > resize:
        raise UserError(f"a crop of {size} pixels does not fit into a short side of {resize} pixels")
    clips = frames.shape[0]
    pictures = frames.flatten(0, 1)  # [V·T, H, W, 3]
    if resize_width:
        resized = resize_to(pictures, resize, resize_width, style=style)
    else:
        resized = resize_short_side(pictures, resize, style=style)
    boxes = eval_boxes(*resized.shape[1:3], size=size, crops=crops, style=style)
    parts = [_crop(resized, box) for box in boxes]
    if crops == 10:
        parts = [
            image for part in parts for image in (part, mirror(part.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        ]
    views = torch.stack(parts)  # [crops, V·T, S, S, C]
    return views.unflatten(1, (clips, -1)).permute(1, 0, 2, 5, 3, 4).flatten(0, 1).contiguous()


def resize_short_side(frames: torch.Tensor, size: int, *, style: Style = "tanet") -> torch.Tensor:
    """Resize frames, uint8 [T, H, W, 3], to a short side of `size` pixels. See `resize_to` for `style`."""
    height, width = size_for_short_side(frames.shape[1], frames.shape[2], size, style=style)
    return resize_to(frames, height, width, style=style)


def resize_to(frames: torch.Tensor, height: int, width: int, *, style: Style = "tanet") -> torch.Tensor:
    """Resize frames, uint8 [T, H, W, 3], to a height and a width in pixels.

    mmaction2 resizes without antialiasing, as OpenCV does; so does PySlowFast, but with float32 values. The
    views hold these values rounded to the nearest integer.
    """
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


def eval_boxes(height: int, width: int, *, size: int, crops: Crops, style: Style = "tanet") -> list[Box]:
    """Return the crop boxes for `eval_views`: spread along the longer side, or the corners and the centre.

    Ten crops need five boxes, because each is also mirrored. Their offsets are multiples of a quarter of the
    free space, rounded down, as in TSN.

    `style` selects the rules of other code. The code of TANet and TSM places three crops in quarters of the
    free space, rounded down, always along the width. So the three crops of a portrait video are equal. Six
    crops are placed as in CPNet's code: their size is the short side. mmaction2 rounds offsets down, and
    needs the short side to be `size` for three crops. PySlowFast rounds the offsets of the centre up.
    """
    if crops not in (1, 3, 6, 10):
        raise UserError(f"crops must be 1, 3, 6 or 10, not {crops}")
    down, right = height - size, width - size  # free space
    if crops == 10:
        centre = CROP_POSITIONS[:5]
        return [Box(y * (down // 4), x * (right // 4), size, size) for y, x in centre]
    if crops == 6:  # the last one at the end, the others at multiples of a fifth, rounded down
        last = max(down, right)
        places = [*(number * (last // 5) for number in range(5)), last]
        return [Box(0, x, size, size) if right >= down else Box(x, 0, size, size) for x in places]
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


def _crop(frames: torch.Tensor, box: Box) -> torch.Tensor:
    return frames[:, box.top : box.top + box.height, box.left : box.left + box.width]


def _resize(frames: torch.Tensor, height: int, width: int, *, antialias: bool = True) -> torch.Tensor:
    """Resize [T, H, W, 3] → [T, 3, height, width]."""
    images = frames.permute(0, 3, 1, 2)
    if images.shape[2:] == (height, width):
        return images
    return F.interpolate(images, (height, width), mode="bilinear", antialias=antialias)

"""A decoded frame → RGB, upright."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import av
    from av.video.reformatter import VideoReformatter


def turned(frame: av.VideoFrame) -> int:
    """Quarter turns counterclockwise by which a frame stands upright; metadata says so."""
    return round(frame.rotation / 90)


def upright_size(frame: av.VideoFrame) -> tuple[int, int]:
    """Height and width, in pixels, once it stands upright."""
    return (frame.width, frame.height) if turned(frame) % 2 else (frame.height, frame.width)


def in_proportion(height: int, width: int, short_side: int | None) -> tuple[int, int]:
    """Height and width where the short side is that long, the longer one in proportion, rounded down."""
    if short_side is None:
        return height, width
    short = min(height, width)
    return short_side * height // short, short_side * width // short


def to_rgb(
    frame: av.VideoFrame, *, short_side: int | None, reformatter: VideoReformatter
) -> NDArray[np.uint8]:
    """RGB [H, W, 3], upright; colours, and size if it is asked for, change in one call of swscale.

    What is given is a view of FFmpeg's memory where its rows have no padding. A reformatter that has seen
    frames of the same kind has its tables ready.
    """
    height, width = in_proportion(frame.height, frame.width, short_side)
    filtering = None if (height, width) == (frame.height, frame.width) else "BILINEAR"
    rgb = reformatter.reformat(frame, width, height, "rgb24", interpolation=filtering, threads=1)
    plane = rgb.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return np.rot90(rows[:height, : 3 * width].reshape(height, width, 3), turned(frame))

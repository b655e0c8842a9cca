"""A decoded frame → RGB, upright."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import av
    from av.video.reformatter import VideoReformatter


def quarter_turns(frame: av.VideoFrame) -> int:
    """Quarter turns counterclockwise by which a frame stands upright; metadata says so."""
    return round(frame.rotation / 90)


def upright_size(frame: av.VideoFrame) -> tuple[int, int]:
    """Height and width, in pixels, once it stands upright."""
    return (frame.width, frame.height) if quarter_turns(frame) % 2 else (frame.height, frame.width)


def to_rgb(frame: av.VideoFrame, *, reformatter: VideoReformatter) -> NDArray[np.uint8]:
    """Convert a decoded frame to RGB [H, W, 3], upright.

    The result is a view of FFmpeg's memory where its rows have no padding. A reformatter that has seen
    frames of the same kind has its tables ready.
    """
    rgb = reformatter.reformat(frame, frame.width, frame.height, "rgb24", threads=1)
    plane = rgb.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    pixels = rows[: frame.height, : 3 * frame.width].reshape(frame.height, frame.width, 3)
    return np.rot90(pixels, quarter_turns(frame))

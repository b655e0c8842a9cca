"""Conversion of decoded frames to upright RGB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import av
    from av.video.reformatter import VideoReformatter


def quarter_turns(frame: av.VideoFrame) -> int:
    """Return the counterclockwise quarter turns that make a frame upright, from its metadata."""
    return round(frame.rotation / 90)


def upright_size(frame: av.VideoFrame) -> tuple[int, int]:
    """Return height and width of the upright frame, in pixels."""
    return (frame.width, frame.height) if quarter_turns(frame) % 2 else (frame.height, frame.width)


def to_rgb(frame: av.VideoFrame, *, reformatter: VideoReformatter) -> NDArray[np.uint8]:
    """Convert a decoded frame to RGB [H, W, 3], upright.

    The result is a view of FFmpeg's memory if its rows have no padding. Reuse the reformatter: it keeps its
    conversion tables for frames of the same kind.
    """
    rgb = reformatter.reformat(frame, frame.width, frame.height, "rgb24", threads=1)
    plane = rgb.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    pixels = rows[: frame.height, : 3 * frame.width].reshape(frame.height, frame.width, 3)
    return np.rot90(pixels, quarter_turns(frame))

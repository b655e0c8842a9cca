"""Conversion of decoded frames to upright RGB, and of grey pictures to arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import av
    from av.video.reformatter import VideoReformatter


def orientation(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """Return the three steps that make a frame upright: transpose, flip left-right, flip upside down.

    Each value says whether the step is needed; the steps are done in this order. The display matrix of a file
    maps a stored position (x, y) to (a·x + c·y, b·x + d·y). There are eight cases: four quarter turns, each
    with and without mirroring. Any other matrix is treated as the nearest case.
    """
    from av.sidedata.sidedata import SideDataContainer

    # `frame.side_data` would keep the container in the frame: both refer to each other and are never freed.
    container = SideDataContainer(frame)  # type: ignore[call-arg]
    if (matrix := container.get("DISPLAYMATRIX")) is None:
        return False, False, False
    a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), np.int32).tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, c < 0, b < 0
    return False, a < 0, d < 0


def upright_size(frame: av.VideoFrame) -> tuple[int, int]:
    """Return height and width of the upright frame, in pixels."""
    return (frame.width, frame.height) if orientation(frame)[0] else (frame.height, frame.width)


def to_rgb(
    frame: av.VideoFrame,
    *,
    reformatter: VideoReformatter | None = None,
    size: tuple[int, int] | None = None,
) -> NDArray[np.uint8]:
    """Convert a decoded frame to upright RGB [H, W, 3].

    If the rows in FFmpeg's memory have no padding, the result is a view of this memory.

    Args:
        frame: the decoded frame.
        reformatter: object that converts the pixels. Use one reformatter for all frames of a video, because
            it keeps its conversion tables for frames of the same kind. None: a new one.
        size: height and width to scale the upright frame to. By default, the frame keeps its own size.
    """
    transposed, mirrored, upside_down = orientation(frame)
    height, width = (frame.height, frame.width) if size is None else size[::-1] if transposed else size
    if reformatter is None:
        from av.video.reformatter import VideoReformatter

        reformatter = VideoReformatter()
    rgb = reformatter.reformat(frame, width, height, "rgb24", threads=1)
    plane = rgb.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    pixels = rows[:height, : 3 * width].reshape(height, width, 3)
    if transposed:
        pixels = pixels.swapaxes(0, 1)
    return pixels[:: -1 if upside_down else 1, :: -1 if mirrored else 1]


def to_grey(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Return the grey values of a decoded picture, uint8 [H, W], as the file stores them.

    A grey JPEG may be stored in colour; its grey values are then the first plane, the luma.
    """
    if frame.format.name != "gray" and not frame.format.name.startswith("yuvj"):
        return to_rgb(frame)[..., 0]
    plane = frame.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height, : frame.width]

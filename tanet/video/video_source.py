"""Open anything that a user may give as a video: a path, the content of a file, an array, or pictures."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import IO, TypeAlias, cast

import numpy as np
import torch

from tanet.errors import UserError
from tanet.video import open_video
from tanet.video.base import Video, VideoError
from tanet.video.frame_array import FrameArray
from tanet.video.picture_list import Picture, PictureList, as_array, is_pil_picture

VideoSource: TypeAlias = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | IO[bytes]
    | np.ndarray
    | torch.Tensor
    | Video
    | Iterable["Picture"]
)
"""What `open_source` takes; docs/python.md has a table."""

EXPECTED = "give a path, the content of a file, an array of frames, or pictures"


def open_source(source: VideoSource) -> Video:
    """Open a video from anything that holds its frames. Nothing that is given is changed.

    Args:
        source: one of
            the path of a video file, of a folder of pictures, or of a .npy file;
            the content of a video file: bytes, or an open binary file, which is read from its start;
            an array of frames, see `FrameArray`;
            a list, tuple or generator of pictures, see `PictureList`;
            an opened `Video`, which is returned as it is.

    Raises:
        VideoError: the source is none of these, or cannot be read.
    """
    name = source_name(source)
    try:
        return _open(source, name)
    except VideoError:
        raise
    except UserError as error:
        raise VideoError(name, str(error)) from error


def source_name(source: object) -> str:
    """Return the path of a video, or "array", "pictures", "video in memory"; for other values, their type."""
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source)
    if isinstance(source, Video):
        return str(source.path)
    if isinstance(source, bytes | bytearray | memoryview) or hasattr(source, "read"):
        name = getattr(source, "name", None)
        return name if isinstance(name, str) and name else "video in memory"
    if is_array(source):
        return "array"
    return "pictures" if _holds_pictures(source) else type(source).__name__


def is_array(source: object) -> bool:
    """Return whether a value is an array of NumPy, PyTorch or another library, and not a PIL picture."""
    names = ("__array__", "__array_interface__", "__dlpack__")
    return not is_pil_picture(source) and any(hasattr(type(source), name) for name in names)


def _open(source: VideoSource, name: str) -> Video:
    if isinstance(source, Video):
        return source
    if isinstance(source, str | os.PathLike):
        if not name:
            raise UserError(f"the path is empty: {EXPECTED}")
        return open_video(Path(name), name=name)
    if isinstance(source, memoryview) and source.ndim > 1:
        return FrameArray(np.asarray(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return open_video(bytes(source))
    if hasattr(source, "read"):
        return open_video(_content(cast("IO[bytes]", source)), name=name)
    if is_array(source) and (array := as_array(source)) is not None:
        if isinstance(array, np.ndarray) and array.ndim == 1 and array.dtype.kind in "OU":
            return PictureList(array.tolist())
        return FrameArray(array)
    if _is_picture(source):
        raise UserError("one picture, not a video; for a video of one frame, give [picture]")
    if _holds_pictures(source):
        return PictureList(cast("Iterable[Picture]", source))
    raise UserError(f"not a video: {EXPECTED}")


def _content(file: IO[bytes]) -> bytes:
    """Read a file from its start and restore its position. If it cannot seek, read what is left."""
    try:
        seekable = file.seekable() if hasattr(file, "seekable") else False
        position = file.tell() if seekable else 0
        if seekable:
            file.seek(0)
        try:
            data = file.read()
        finally:
            if seekable:
                file.seek(position)
    except (OSError, ValueError, io.UnsupportedOperation) as error:
        raise UserError(f"the file cannot be read: {error}") from error
    if not isinstance(data, bytes | bytearray | memoryview):
        raise UserError('the file is open as text: open it with mode "rb"')
    return bytes(data)


def _is_picture(source: object) -> bool:
    import av

    return is_pil_picture(source) or isinstance(source, av.VideoFrame)


def _holds_pictures(source: object) -> bool:
    if isinstance(source, Mapping | Set) or _is_picture(source):
        return False
    return isinstance(source, Iterable) or (hasattr(source, "__getitem__") and hasattr(source, "__len__"))

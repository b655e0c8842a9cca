"""Video made of a list of pictures, of a generator of pictures, or of the frames that PyAV decodes.

A picture is an array, a `PIL.Image`, an `av.VideoFrame`, or the path or content of a picture file. A list is
only looked through at first; `read` converts the pictures that it needs. A generator may use the same memory
for all of its pictures, so its pictures are copied one by one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray

from tanet.errors import UserError
from tanet.video.array_layout import Array, picture_channels_last
from tanet.video.array_values import factor_to_uint8, to_uint8
from tanet.video.base import Video, VideoError
from tanet.video.frame_folder import PICTURE_SUFFIXES, decode_picture
from tanet.video.frame_to_rgb import upright_size

if TYPE_CHECKING:
    import av


class PilPicture(Protocol):
    """Picture with the interface of `PIL.Image.Image`. PIL itself is never imported."""

    @property
    def __array_interface__(self) -> Any: ...

    def convert(self, mode: str, /) -> Any:
        """Return the picture with pixels of this mode, such as "RGB"."""


Picture: TypeAlias = "np.ndarray | torch.Tensor | PilPicture | av.VideoFrame | str | os.PathLike[str] | bytes"


class PictureList(Video):
    """A video made of single pictures.

    Args:
        pictures: the pictures. Pictures of another size than the first are scaled; `notes` says so.
        name: name of the video in errors.

    Raises:
        VideoError: there are no pictures, or one of them cannot be taken as a picture.
    """

    def __init__(self, pictures: Iterable[Picture], *, name: str | Path = "pictures") -> None:
        self.path = Path(name)
        kept = isinstance(pictures, list | tuple)
        self._pictures: list[Array | PilPicture | av.VideoFrame | Path | bytes] = []
        for number, picture in enumerate(pictures):
            with _naming(self.path, number):
                taken = _take(picture)
                self._pictures.append(taken if kept else _copy(taken))
        self.frames = len(self._pictures)
        if not self.frames:
            raise VideoError(self.path, "no pictures: the list is empty" if kept else "no pictures")
        self._factors = self._factors_by_dtype()
        for _, first, _ in self._decode([0]):
            self._size = upright_size(first)

    def _factors_by_dtype(self) -> dict[str, float]:
        """Return the factor of each dtype of the arrays. All pictures of a dtype have the same factor."""
        arrays: dict[str, list[Array]] = {}
        for picture in self._pictures:
            if isinstance(picture, np.ndarray | torch.Tensor):
                arrays.setdefault(str(picture.dtype), []).append(picture)
        try:
            return {kind: factor_to_uint8(own) for kind, own in arrays.items()}
        except UserError as error:
            raise VideoError(self.path, str(error)) from error

    def _decode(self, numbers: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame, Path]]:
        for number in numbers:
            with _naming(self.path, number):
                frame = self._frame(self._pictures[number])
            yield number, frame, self.path

    def _frame(self, picture: Array | PilPicture | av.VideoFrame | Path | bytes) -> av.VideoFrame:
        import av

        if isinstance(picture, av.VideoFrame):
            return picture
        if isinstance(picture, Path | bytes):
            return decode_picture(picture)
        if isinstance(picture, np.ndarray | torch.Tensor):
            pixels = to_uint8(picture, self._factors[str(picture.dtype)])
        else:
            pixels = _rgb(picture)
        return av.VideoFrame.from_ndarray(pixels, format="rgb24")


def is_pil_picture(value: object) -> bool:
    """Return whether a value has the interface of `PIL.Image.Image`."""
    # The array interface of a PIL picture converts the whole picture, so look for it without reading it.
    interface = "__array_interface__"
    found = hasattr(type(value), interface) or interface in getattr(value, "__dict__", {})
    return found and callable(getattr(value, "convert", None))


def as_array(value: object) -> Array | None:
    """Return `value` as a NumPy array or a tensor, without copying it. If it is not an array, return None.

    Raises:
        UserError: `value` is an array of another library and cannot be read, for example because it is on a
            GPU.
    """
    if isinstance(value, torch.Tensor):
        return value.detach()
    if not any(hasattr(type(value), name) for name in ("__array__", "__array_interface__", "__dlpack__")):
        return None
    try:
        return np.asarray(value) if hasattr(value, "__array__") else torch.from_dlpack(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        cause = str(error).partition("\n")[0]
        raise UserError(f"{type(value).__name__} cannot be converted to a NumPy array: {cause}") from error


def _take(picture: object) -> Array | PilPicture | av.VideoFrame | Path | bytes:
    """Check the type of a picture, and bring an array into the layout [H, W, C] without copying it."""
    import av

    if isinstance(picture, av.VideoFrame | bytes):
        return picture
    if isinstance(picture, str | os.PathLike):
        path = Path(os.fsdecode(picture))
        if path.suffix.lower() not in PICTURE_SUFFIXES:
            kinds = ", ".join(PICTURE_SUFFIXES)
            raise UserError(f"{path} is not a picture ({kinds}); for several videos, use predict_all")
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        return path
    if is_pil_picture(picture):
        # PIL would cut off values over 255 of modes with 16 bits and more (I, I;16, F).
        wide = str(getattr(picture, "mode", "")).startswith(("I", "F"))
        return picture_channels_last(np.asarray(picture)) if wide else cast("PilPicture", picture)
    if (array := as_array(picture)) is None:
        raise UserError(f"expected a picture, not {type(picture).__name__}")
    return picture_channels_last(array)


def _copy(
    picture: Array | PilPicture | av.VideoFrame | Path | bytes,
) -> Array | PilPicture | av.VideoFrame | Path | bytes:
    """Copy a picture whose memory may be used again for the next picture of a generator."""
    if isinstance(picture, np.ndarray):
        return picture.copy()
    if isinstance(picture, torch.Tensor):
        return picture.clone()
    return _rgb(cast("PilPicture", picture)).copy() if is_pil_picture(picture) else picture


def _rgb(picture: PilPicture) -> NDArray[np.uint8]:
    """Convert a PIL picture to uint8 [H, W, 3]."""
    try:
        array = np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"the PIL picture cannot be converted to RGB: {error}") from error
    return to_uint8(picture_channels_last(array), 1)


@contextmanager
def _naming(path: Path, number: int) -> Iterator[None]:
    """Raise a UserError as a `VideoError` that says which picture is wrong."""
    try:
        yield
    except UserError as error:
        raise VideoError(path, f"picture {number}: {error}") from error

"""Interface of all opened videos, and the errors that are raised when a video is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from tanet.errors import UserError
from tanet.video.frame_to_rgb import to_rgb, upright_size

if TYPE_CHECKING:
    import av  # at run time, PyAV is imported only when a video is decoded


class VideoError(UserError):
    """Error: a video cannot be read. The message is one line with the path and the cause."""

    def __init__(self, path: str | Path, cause: str) -> None:
        # Pickle rebuilds an error by calling its class with these arguments, so do not pass the message.
        super().__init__(path, cause)
        self.path, self.cause = Path(path), cause

    def __str__(self) -> str:
        return f"{self.path}: {self.cause}"


class DamagedVideo(VideoError):
    """Error: a requested frame cannot be decoded. The frames 0 … `frames`-1 can be decoded."""

    def __init__(self, path: str | Path, cause: str, frames: int) -> None:
        super().__init__(path, cause)
        self.args, self.frames = (path, cause, frames), frames


@dataclass(frozen=True)
class VideoInfo:
    """Length, frame rate and upright size (in pixels) of a video."""

    frames: int  # the number that the file promises; after `Video.verify`, the actual number
    fps: float | None  # average frame rate; None for a folder of pictures
    height: int
    width: int


class Video:
    """An opened video; see `open_video`."""

    path: Path
    frames: int
    """Number of frames that the file promises; after `verify`, the actual number."""
    fps: float | None = None
    notes: tuple[str, ...] = ()
    """Unusual properties of the video, found while its frames were read. Each note is one line."""
    first: int = 0
    """Number of the first frame within the video, if this is only a part of a video (excerpt.py)."""
    offset: float = 0.0
    """When this frame is displayed, in seconds after the first frame of the video."""
    channels: ClassVar[int] = 3
    """Number of channels of the pictures that `read` returns."""
    _size: tuple[int, int] | None = None  # upright height and width of all frames that `read` returns

    @property
    def info(self) -> VideoInfo:
        """Number of frames, frame rate and size. If the size is not known yet, one frame is decoded.

        Raises:
            VideoError: no frame decodes.
        """
        for _, frame, _ in self._decode([0]) if self._size is None else ():
            self._size = upright_size(frame)
        assert self._size is not None
        return VideoInfo(self.frames, self.fps, *self._size)

    def read(self, indices: ArrayLike | torch.Tensor) -> torch.Tensor:
        """Read the frames with these numbers. A frame whose number is repeated is decoded only once.

        A frame with another size than the first frame is scaled to the size of the first frame, and a note
        is added to `notes`.

        Args:
            indices: integers of shape S, in any order.

        Returns:
            uint8 [*S, H, W, C]; C is 3, for RGB.

        Raises:
            ValueError: an index is not an integer, or not in 0 … frames-1.
            DamagedVideo: the file has fewer frames than promised. After this error, `frames` is the actual
                number, and all these frames can be read.
            VideoError: a frame cannot be read.
        """
        wanted = self._checked(indices)
        every = wanted.reshape(-1).tolist()
        numbers = sorted(set(every))
        frames: np.ndarray | None = None
        row_of = {number: row for row, number in enumerate(numbers)}
        for number, pixels in self._pixels(numbers):
            if frames is None:
                frames = np.empty((len(numbers), *pixels.shape), np.uint8)
            frames[row_of[number]] = pixels
            # Keep no reference to the picture, so that the next one reuses its memory in the CPU cache.
            del pixels
        if frames is None:
            frames = np.empty((0, self.info.height, self.info.width, self.channels), np.uint8)
        if every != numbers:
            frames = frames[[row_of[number] for number in every]]
        return torch.from_numpy(frames.reshape(*wanted.shape, *frames.shape[1:]))

    def iterate(self, indices: ArrayLike | torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        """Decode frames in one pass, and yield them one by one. Only one picture is in memory at a time.

        Args:
            indices: integers, distinct and ascending.

        Yields:
            The number of each frame and its picture, uint8 [H, W, C], in ascending order.

        Raises:
            ValueError: the indices do not ascend, or one of them is not in 0 … frames-1.
            DamagedVideo: the file has fewer frames than promised; those before have been yielded.
            VideoError: a frame cannot be read.
        """
        numbers = self._checked(indices)
        if (np.diff(numbers) <= 0).any():
            raise ValueError(f"{self.path}: frame indices must ascend")
        last = -1
        for part in self._passes(numbers):
            for number, pixels in self._pixels(part.tolist()):
                if number > last:  # after an error of the index, decoding starts again from the first frame
                    last = number
                    yield number, torch.from_numpy(np.ascontiguousarray(pixels))

    def _passes(self, numbers: np.ndarray) -> Iterator[np.ndarray]:
        """Split the numbers of frames into parts that can be decoded one after another without extra work."""
        yield numbers

    def times(self) -> np.ndarray:
        """Return when each frame is displayed, in seconds after the first frame: float64 [frames].

        If the file has an index of its times, they are the times of the file, also at a variable frame rate.
        Otherwise, the frame rate is taken as constant, and as 30 frames per second if it is not known.
        """
        return np.arange(self.frames) / (self.fps or 30.0)

    def verify(self) -> VideoInfo:
        """Decode all frames. Afterwards, `frames` is the actual number of frames."""
        for number in range(self.frames):
            self.read(number)
        return self.info

    def close(self) -> None:
        """Release all resources. Afterwards, no frame can be read."""

    def _checked(self, indices: ArrayLike | torch.Tensor) -> np.ndarray:
        """Return the indices as an int64 array. Raise ValueError if an index is not the number of a frame."""
        wanted = np.asarray(indices)
        if wanted.size and wanted.dtype.kind not in "iu":
            raise ValueError(f"{self.path}: frame indices must be integers, not {wanted.dtype}")
        for number in (wanted.min(), wanted.max()) if wanted.size else ():
            if not 0 <= number < self.frames:
                raise ValueError(f"{self.path}: no frame {number}; the video has {self.frames} frames")
        return wanted.astype(np.int64)

    def _note_size(self, found: tuple[int, int]) -> None:
        """Add a note that pictures of another size are scaled, unless there is a note already."""
        if self.notes or self._size is None:
            return
        (height, width), (other_height, other_width) = self._size, found
        self.notes = (
            f"the picture size changes from {width} × {height} to {other_width} × {other_height}; "
            "all frames are scaled to the first size",
        )

    def _pixels(self, numbers: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield (number, picture [H, W, C]) for each number, in any order. All pictures have the same size.

        The numbers are distinct and ascend.
        """
        from av.video.reformatter import VideoReformatter

        reformatter = VideoReformatter()
        for number, frame, _ in self._decode(numbers):
            size = upright_size(frame)
            self._size = self._size or size
            if size != self._size:
                self._note_size(size)
            yield number, to_rgb(frame, reformatter=reformatter, size=self._size)

    def _decode(self, numbers: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame, Path]]:
        """Yield (number, frame, file) for each number, in any order. The numbers are distinct and ascend."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Turn errors of FFmpeg and of the file system into a `VideoError` that names the file."""
    from av.error import FFmpegError

    try:
        yield
    except (FFmpegError, OSError) as error:
        raise VideoError(path, error.strerror or type(error).__name__) from error
    except UnicodeDecodeError as error:
        raise VideoError(path, "the metadata is not UTF-8: PyAV 19 is needed to read it") from error

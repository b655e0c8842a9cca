"""Interface of every opened video, and the errors raised when a video is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import ArrayLike

from tanet.errors import UserError
from tanet.video.frame_to_rgb import to_rgb, upright_size

if TYPE_CHECKING:
    import av  # loaded only when something is decoded


class VideoError(UserError):
    """A video cannot be read; the message is its path and the cause, on one line."""

    def __init__(self, path: str | Path, cause: str) -> None:
        super().__init__(path, cause)  # not the whole message, so that pickle can rebuild the error
        self.path, self.cause = Path(path), cause

    def __str__(self) -> str:
        return f"{self.path}: {self.cause}"


class DamagedVideo(VideoError):
    """A requested frame does not decode; frames 0 … `frames`-1 do."""

    def __init__(self, path: str | Path, cause: str, frames: int) -> None:
        super().__init__(path, cause)
        self.args, self.frames = (path, cause, frames), frames


@dataclass(frozen=True)
class VideoInfo:
    """Length, frame rate and upright size (in pixels) of a video."""

    frames: int  # promised by the file; after `Video.verify`, the actual number
    fps: float | None  # average; None for a folder of pictures
    height: int
    width: int


class Video:
    """An opened video; see `open_video`."""

    path: Path
    frames: int
    """Number of frames that the file promises; after `verify`, the actual number."""
    fps: float | None = None
    _size: tuple[int, int] | None = None  # height and width of the first decoded frame, upright

    @property
    def info(self) -> VideoInfo:
        """Number of frames, frame rate and size. The size needs a decoded frame.

        Raises:
            VideoError: no frame decodes.
        """
        for _, frame, _ in self._decode([0]) if self._size is None else ():
            self._size = upright_size(frame)
        assert self._size is not None
        return VideoInfo(self.frames, self.fps, *self._size)

    def read(self, indices: ArrayLike | torch.Tensor) -> torch.Tensor:
        """Read frames by their numbers; each is decoded once.

        Args:
            indices: integers of shape S, in any order.

        Returns:
            uint8 [*S, H, W, 3].

        Raises:
            ValueError: an index is not an integer, or not in 0 … frames-1.
            DamagedVideo: the file has fewer frames than promised. From then on `frames` is the actual
                number, and these frames can be read.
            VideoError: a frame cannot be read, or differs in size from the first.
        """
        wanted = self._checked(indices)
        from av.video.reformatter import VideoReformatter

        reformatter = VideoReformatter()
        every = wanted.reshape(-1).tolist()
        numbers = sorted(set(every))
        frames: np.ndarray | None = None
        row_of = {number: row for row, number in enumerate(numbers)}
        for number, frame, path in self._decode(numbers):
            if (found := upright_size(frame)) != (self._size or found):
                raise VideoError(path, f"a frame of {found} pixels, but another has {self._size}")
            self._size = found
            if frames is None:
                frames = np.empty((len(numbers), *found, 3), np.uint8)
            # Keep no reference to the RGB picture: its memory, still in the cache, then serves the next one.
            frames[row_of[number]] = to_rgb(frame, reformatter=reformatter)
        if frames is None:
            frames = np.empty((0, self.info.height, self.info.width, 3), np.uint8)
        if every != numbers:
            frames = frames[[row_of[number] for number in every]]
        return torch.from_numpy(frames.reshape(*wanted.shape, *frames.shape[1:]))

    def verify(self) -> VideoInfo:
        """Decode everything; from then on `frames` is the actual number of frames."""
        for number in range(self.frames):
            self.read(number)
        return self.info

    def close(self) -> None:
        """Release all resources; afterwards nothing can be read."""

    def _checked(self, indices: ArrayLike | torch.Tensor) -> np.ndarray:
        """Return the indices as an int64 array; raise a ValueError unless each is the number of a frame."""
        wanted = np.asarray(indices)
        if wanted.size and wanted.dtype.kind not in "iu":
            raise ValueError(f"{self.path}: frame indices must be integers, not {wanted.dtype}")
        for number in (wanted.min(), wanted.max()) if wanted.size else ():
            if not 0 <= number < self.frames:
                raise ValueError(f"{self.path}: no frame {number}, there are {self.frames}")
        return wanted.astype(np.int64)

    def _decode(self, numbers: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame, Path]]:
        """Yield number, frame and file for each of these distinct, ascending numbers, in any order."""
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
        raise VideoError(path, "metadata that is not UTF-8, which needs PyAV 19") from error

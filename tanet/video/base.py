"""Video: what every opened video can do, whatever it is made of; and the errors of reading one."""

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
    """A video that cannot be read: its path and the cause, on one line."""

    def __init__(self, path: str | Path, cause: str) -> None:
        super().__init__(path, cause)  # not the line itself, so that pickle can rebuild the error
        self.path, self.cause = Path(path), cause

    def __str__(self) -> str:
        return f"{self.path}: {self.cause}"


class DamagedVideo(VideoError):
    """A wanted frame does not decode; frames 0 … `frames`-1 do."""

    def __init__(self, path: str | Path, cause: str, frames: int) -> None:
        super().__init__(path, cause)
        self.args, self.frames = (path, cause, frames), frames


@dataclass(frozen=True)
class VideoInfo:
    """`frames`: what the file promises, or after Video.verify what it has. Sizes in pixels, upright."""

    frames: int
    fps: float | None  # on average; None for a folder of pictures
    height: int
    width: int


class Video:
    """An opened video; see open_video."""

    path: Path
    frames: int
    """What the file promises, or after `verify` what it has."""
    fps: float | None = None
    _size: tuple[int, int] | None = None  # of the first frame that was seen, upright

    @property
    def info(self) -> VideoInfo:
        """Frames, frame rate and size; only a decoded frame knows its size.

        Raises:
            VideoError: no frame decodes.
        """
        for _, frame, _ in self._decode([0]) if self._size is None else ():
            self._size = upright_size(frame)
        assert self._size is not None
        return VideoInfo(self.frames, self.fps, *self._size)

    def read(self, indices: ArrayLike | torch.Tensor) -> torch.Tensor:
        """Frames by their numbers, each decoded once.

        Args:
            indices: integers of shape S, in any order.

        Returns:
            uint8 [*S, H, W, 3].

        Raises:
            UserError: an index outside of 0 … frames-1.
            DamagedVideo: the file has fewer frames than it promised; from then on `frames` says how many,
                and these can be read.
        """
        wanted = np.asarray(indices)
        if wanted.size and wanted.dtype.kind not in "iu":
            raise ValueError(f"{self.path}: frame indices are integers, not {wanted.dtype}")
        from av.video.reformatter import VideoReformatter

        reformatter = VideoReformatter()
        every = wanted.reshape(-1).tolist()
        numbers = sorted(set(every))
        for number in numbers:
            if not 0 <= number < self.frames:
                raise ValueError(f"{self.path}: no frame {number}, there are {self.frames}")
        frames: np.ndarray | None = None
        row_of = {number: row for row, number in enumerate(numbers)}
        for number, frame, path in self._decode(numbers):
            if (found := upright_size(frame)) != (self._size or found):
                raise VideoError(path, f"a frame of {found} pixels, but another has {self._size}")
            self._size = found
            if frames is None:
                frames = np.empty((len(numbers), *found, 3), np.uint8)
            # The picture has no name: while the next one is decoded its memory is free, and in the cache.
            frames[row_of[number]] = to_rgb(frame, reformatter=reformatter)
        if frames is None:
            frames = np.empty((0, self.info.height, self.info.width, 3), np.uint8)
        if every != numbers:
            frames = frames[[row_of[number] for number in every]]
        return torch.from_numpy(frames.reshape(*wanted.shape, *frames.shape[1:]))

    def verify(self) -> VideoInfo:
        """Decodes everything: from now on `frames` counts what is really there."""
        for number in range(self.frames):
            self.read(number)
        return self.info

    def close(self) -> None:
        """Frees what is held open; nothing can be read any more."""

    def _decode(self, numbers: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame, Path]]:
        """Number, frame and file of each of these distinct, ascending numbers, in any order."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Errors of FFmpeg and of the disk, under the name of the file."""
    from av.error import FFmpegError

    try:
        yield
    except (FFmpegError, OSError) as error:
        raise VideoError(path, error.strerror or type(error).__name__) from error
    except UnicodeDecodeError as error:
        raise VideoError(path, "metadata that is not UTF-8, which needs PyAV 19") from error

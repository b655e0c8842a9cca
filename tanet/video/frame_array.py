"""Video made of decoded frames: an array in memory, or a memory-mapped .npy file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from tanet.errors import UserError
from tanet.video.array_layout import frames_channels_last
from tanet.video.array_values import factor_to_uint8, to_uint8
from tanet.video.base import Video, VideoError


class FrameArray(Video):
    """A video of decoded frames.

    Args:
        frames: the frames in a layout of array_layout.py, with values of array_values.py; for example uint8
            [frames, H, W, 3], RGB. A tensor may be on any device. The frames are not copied or changed.
        name: name of the video in errors.

    Raises:
        UserError: the layout or the values are not recognised, or the array is empty.
    """

    def __init__(self, frames: np.ndarray | torch.Tensor, *, name: str | Path = "array") -> None:
        self._array = frames_channels_last(frames.detach() if isinstance(frames, torch.Tensor) else frames)
        self._factor = factor_to_uint8(self._array)
        self.path, self.frames = Path(name), self._array.shape[0]
        self._size = self._array.shape[1], self._array.shape[2]

    @classmethod
    def of_file(cls, path: Path, *, name: str | Path | None = None) -> Self:
        """Memory-map a .npy file, written by `numpy.save`.

        Raises:
            VideoError: the file cannot be read, or does not contain frames.
        """
        name = Path(name or path)
        try:
            frames = np.load(path, mmap_mode="r", allow_pickle=False)
        except OSError as error:
            raise VideoError(name, error.strerror or "not a .npy file written by numpy.save") from error
        except (ValueError, EOFError) as error:
            raise VideoError(name, "not a .npy file written by numpy.save, or a truncated file") from error
        try:
            return cls(frames, name=name)
        except UserError as error:
            raise VideoError(name, str(error)) from error

    def _pixels(self, numbers: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        for number in numbers:
            yield number, self.read([number])[0].numpy()

    def read(self, indices: ArrayLike | torch.Tensor) -> torch.Tensor:
        """Read the frames with these numbers, as a tensor on the CPU; see `Video.read`."""
        wanted = self._checked(indices)
        numbers = wanted.reshape(-1)  # indexing by a list of numbers copies the frames; one number would not
        if isinstance(self._array, np.ndarray):
            frames = self._array[numbers]
        else:
            frames = self._array[torch.from_numpy(numbers).to(self._array.device)]
        pixels = to_uint8(frames, self._factor)
        return torch.from_numpy(pixels.reshape(*wanted.shape, *pixels.shape[1:]))

"""Video made of decoded frames: an array in memory, or a memory-mapped .npy file."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike

from tanet.errors import UserError
from tanet.video.base import Video, VideoError


class FrameArray(Video):
    """A video of decoded frames.

    Args:
        frames: uint8 [frames, H, W, 3], RGB; a tensor may be on any device.
        name: name of the video in errors.

    Raises:
        UserError: the array has another dtype or shape, or is empty.
    """

    def __init__(self, frames: np.ndarray | torch.Tensor, *, name: str | Path = "array") -> None:
        kind, shape = str(frames.dtype).removeprefix("torch."), list(frames.shape)
        if kind != "uint8" or len(shape) != 4 or shape[-1] != 3 or 0 in shape:
            raise UserError(f"expected frames uint8 [frames, H, W, 3], not {kind} {shape}")
        self.path, self.frames = Path(name), shape[0]
        self._array, self._size = frames, (shape[1], shape[2])

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

    def read(self, indices: ArrayLike | torch.Tensor) -> torch.Tensor:
        """Read the frames with these numbers, as a tensor on the CPU; see `Video.read`."""
        wanted = self._checked(indices)
        if isinstance(self._array, np.ndarray):
            return torch.from_numpy(self._array[wanted])  # indexing by an array copies the frames
        return self._array[torch.from_numpy(wanted).to(self._array.device)].cpu()

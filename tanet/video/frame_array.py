"""Video made of frames that are already in memory."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike

from tanet.errors import UserError
from tanet.video.base import Video


class FrameArray(Video):
    """A video of frames in memory.

    Args:
        frames: uint8 [frames, H, W, 3], RGB, on any device.

    Raises:
        UserError: the array has another type or shape, or is empty.
    """

    def __init__(self, frames: np.ndarray | torch.Tensor) -> None:
        array = torch.as_tensor(np.ascontiguousarray(frames) if isinstance(frames, np.ndarray) else frames)
        if array.dtype != torch.uint8 or array.ndim != 4 or array.shape[-1] != 3 or not len(array):
            raise UserError(f"expected frames uint8 [frames, H, W, 3], not {array.dtype} {list(array.shape)}")
        self.path, self.frames = Path("array"), len(array)
        self._array, self._size = array, (array.shape[1], array.shape[2])

    def read(self, indices: ArrayLike | torch.Tensor) -> torch.Tensor:
        """Return frames by their numbers, on the CPU; see `Video.read`."""
        wanted = torch.as_tensor(np.asarray(indices))
        return self._array[wanted.to(self._array.device)].cpu()

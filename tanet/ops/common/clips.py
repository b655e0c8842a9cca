"""Conversion of images [N·T, …] to clips [N, T, …]. The T frames of a clip are consecutive images."""

import torch


def as_clips(x: torch.Tensor, frames: int) -> torch.Tensor:
    """Reshape [N·T, …] to [N, T, …].

    Raises:
        ValueError: the number of rows is not a multiple of `frames`.
    """
    if x.shape[0] % frames:
        raise ValueError(f"{x.shape[0]} images cannot be divided into clips of {frames} frames")
    return x.unflatten(0, (-1, frames))

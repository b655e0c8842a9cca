"""Images [N·T, …] as clips [N, T, …]: the frames of a clip are consecutive rows."""

import torch


def as_clips(x: torch.Tensor, frames: int) -> torch.Tensor:
    """[N·T, …] → [N, T, …].

    Raises:
        ValueError: the rows are no whole number of clips.
    """
    if x.shape[0] % frames:
        raise ValueError(f"{x.shape[0]} images are no whole number of clips of {frames} frames")
    return x.unflatten(0, (-1, frames))

"""TSM's shift: part of the channels come from the frame after, part from the frame before.

    Y[n, t, c] = X[n, t + 1, c]  for c < part      X[n, t - 1, c]  for part ≤ c < 2·part      X[n, t, c] else

zero outside the clip. `reference` is the specification: values are moved, so whatever computes the same
faster gives the same bits.
"""

import torch

from tanet.ops.common.clips import as_clips
from tanet.ops.common.dispatch import backend_for


def shift(x: torch.Tensor, *, frames: int, part: int) -> torch.Tensor:
    """Move part of the channels one frame back, as many one frame on.

    Args:
        x: feature maps [N·T, C, H, W], the frames of a clip in consecutive rows.
        frames: T.
        part: how many channels move each way; 0 for none.

    Returns:
        [N·T, C, H, W] in memory of its own, in x's memory format; in channels-last from the fused kernel.

    Raises:
        ValueError: the rows are no whole number of clips.
    """
    if backend_for(x, frames=frames) == "triton":
        from tanet.ops.temporal_shift.triton_kernel import shift_triton

        as_clips(x, frames)  # refuses what makes no whole clips
        return shift_triton(x, frames, part, 1)
    return reference(x, frames=frames, part=part)


def reference(x: torch.Tensor, *, frames: int, part: int) -> torch.Tensor:
    """`shift` in PyTorch's operations: the specification, and what a CPU runs."""
    x = as_clips(x, frames)  # [N, T, C, H, W]
    y = x.clone()
    y[:, :-1, :part] = x[:, 1:, :part]
    y[:, -1, :part] = 0
    y[:, 1:, part : 2 * part] = x[:, :-1, part : 2 * part]
    y[:, 0, part : 2 * part] = 0
    return y.flatten(0, 1)

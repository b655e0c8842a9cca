"""Sum of maps shifted along time: Y[t] = Σ_i X_i[t + ahead_i]. X_i is zero outside the clip."""

import torch

from tanet.ops.common.clips import as_clips


def shift_sum(x: torch.Tensor, ahead: tuple[int, ...], *, frames: int) -> torch.Tensor:
    """Shift the output of each temporal tap i by ahead[i] frames, and add up the shifted outputs.

    Args:
        x: [N·T, I, C, H, W], the outputs of the I taps for each frame.
        ahead: for each tap, the frame that the tap reads, relative to the current frame. 1 is the next frame,
            -1 the previous frame.
        frames: T.

    Returns:
        [N·T, C, H, W].
    """
    x = as_clips(x, frames)  # [N, T, I, C, H, W]
    y = torch.zeros_like(x[:, :, 0])
    for i, step in enumerate(ahead):
        if step == 0:
            y += x[:, :, i]
        elif 0 < step < frames:
            y[:, :-step] += x[:, step:, i]
        elif -frames < step < 0:
            y[:, -step:] += x[:, :step, i]
    return y.flatten(0, 1)

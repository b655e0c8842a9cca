"""The sum of maps shifted along time: Y[t] = Σ_i X_i[t + ahead_i], zero outside the clip."""

import torch

from tanet.ops.common.clips import as_clips


def shift_sum(x: torch.Tensor, ahead: tuple[int, ...], *, frames: int) -> torch.Tensor:
    """Sum the outputs of several temporal taps, each shifted to the frame to which it belongs.

    Args:
        x: [N·T, I, C, H, W], the outputs of the I taps for each frame.
        ahead: for each tap, how many frames ahead of the current one it reads; negative for earlier frames.
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

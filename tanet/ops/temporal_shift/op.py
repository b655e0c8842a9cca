"""The shift of TSM: some channels come from the next frame, some from the previous frame.

    Y[n, t, c] = X[n, t + 1, c]    for c < part
    Y[n, t, c] = X[n, t - 1, c]    for part ≤ c < 2 · part
    Y[n, t, c] = X[n, t, c]        for all other channels

X is zero outside the clip. `reference` is the specification of the shift. The shift only moves values, so
faster implementations must equal `reference` bit for bit.
"""

import torch

from tanet.ops.common.clips import as_clips
from tanet.ops.common.dispatch import backend_for


def shift(x: torch.Tensor, *, frames: int, part: int) -> torch.Tensor:
    """Shift the first `part` channels one frame back in time, and the next `part` channels one frame forward.

    Args:
        x: feature maps [N·T, C, H, W]; the frames of a clip are consecutive rows.
        frames: T.
        part: number of channels shifted in each direction; 0 for no shift.

    Returns:
        A new tensor [N·T, C, H, W] in the memory format of x. The fused kernel always returns channels-last.

    Raises:
        ValueError: the number of rows is not a multiple of `frames`.
    """
    if backend_for(x, frames=frames) == "triton":
        from tanet.ops.temporal_shift.triton_kernel import shift_triton

        as_clips(x, frames)  # raises an error if the shape is wrong
        return shift_triton(x, frames, part, 1)
    return reference(x, frames=frames, part=part)


def reference(x: torch.Tensor, *, frames: int, part: int) -> torch.Tensor:
    """Compute `shift` with PyTorch's own operations, as the specification and for CPUs."""
    x = as_clips(x, frames)  # [N, T, C, H, W]
    if torch.compiler.is_exporting():
        return _without_assignments(x, part).flatten(0, 1)
    y = x.clone()
    y[:, :-1, :part] = x[:, 1:, :part]
    y[:, -1, :part] = 0
    y[:, 1:, part : 2 * part] = x[:, :-1, part : 2 * part]
    y[:, 0, part : 2 * part] = 0
    return y.flatten(0, 1)


def _without_assignments(x: torch.Tensor, part: int) -> torch.Tensor:
    """Shift clips [N, T, C, H, W] in a form that ExecuTorch can lower. It loses channels-last."""
    later, earlier, same = x[:, :, :part], x[:, :, part : 2 * part], x[:, :, 2 * part :]
    zeros = torch.zeros_like(later[:, :1])
    parts = [torch.cat([later[:, 1:], zeros], 1), torch.cat([zeros, earlier[:, :-1]], 1), same]
    return torch.cat(parts, 2)

"""Adaptation of trained weights to another number of frames T.

Only the weights of TAM's global branch have shapes that depend on T:

    G.0 [αT, T]    G.1 BatchNorm of αT    G.3 [K, αT]        (also in `tanet-r`, `global`, `global+se`)

Three matrices change these weights from T to T' frames. The rows of each matrix sum to 1:

    G.0' = E · G.0 · P        G.1' = E · G.1        G.3' = G.3 · Q

    P [T, T']      divides the clip into T equal intervals, and averages the T' frames over each interval
    E [αT', αT]    copies the hidden units; if T' < T, averages groups of hidden units
    Q [αT, αT']    divides the output weight of a unit among its copies; if T' < T, sums over each group

For T' ≥ T, the new module computes the same kernel Θ from T' frames as the old module computes from the T
interval means of these frames. So a clip in which each frame is repeated T'/T times gives the same kernel as
the original clip. A change from T to 2T and back to T restores the weights. Hidden units have no order, so
they are copied and not interpolated.

One thing is lost. After a change from T to 2T, neighbouring frames are half as far apart in time, but the
kernel and the local branch still reach only one frame in each direction. So fine-tune the network afterwards.

This command changes the number of frames of a checkpoint:

    tanet convert mine8.safetensors mine16.safetensors --frames 16 --change-frames interpolate
"""

from collections.abc import Mapping
from pathlib import Path

import torch

from tanet.errors import UserError

GLOBAL_BRANCH = ".temporal.G."
"""Part of the name of every weight of a global branch."""


def depends_on_frames(state: Mapping[str, torch.Tensor]) -> bool:
    """Return whether a network's weights fit only one number of frames per clip."""
    return any(GLOBAL_BRANCH in name for name in state)


def check_frames_can_change(state: Mapping[str, torch.Tensor], path: str | Path) -> None:
    """Raise UserError if weights fit only one number of frames and cannot be adapted: those of TRN.

    Args:
        state: a network's state dict.
        path: file of the weights, for the message.
    """
    if any(name.startswith("relations.") for name in state):
        raise UserError(
            f"{path}: TRN relates each frame in its place, so its weights fit one number of frames: leave "
            "out --frames, or train anew"
        )


def other_frames(state: Mapping[str, torch.Tensor], like: Mapping[str, torch.Tensor]) -> bool:
    """Return whether a global branch gets another number of frames in one network than in the other."""
    first = f"{GLOBAL_BRANCH}0.weight"
    both = [name for name in state if name.endswith(first) and name in like]
    return any(state[name].shape[1:] != like[name].shape[1:] for name in both)


def resize_frames(
    state: dict[str, torch.Tensor], *, frames: int, like: Mapping[str, torch.Tensor] | None = None
) -> dict[str, torch.Tensor]:
    """Return weights adapted to clips of another length. The given state dict is not changed.

    Args:
        state: a network's state dict. Only the weights of global branches are replaced.
        frames: new number of frames per clip.
        like: state dict of the network for the new clips. It is needed if not all TAMs get `frames` frames:
            in SlowFast, the slow pathway has fewer, and an I3D has fewer after strides and pools over time.

    Raises:
        UserError: `frames` is not positive.
    """
    if frames < 1:
        raise UserError(f"frames must be positive, not {frames}")
    return {
        name: _resized(name, tensor, state, frames, like or {}) if GLOBAL_BRANCH in name else tensor
        for name, tensor in state.items()
    }


def _resized(
    name: str,
    tensor: torch.Tensor,
    state: dict[str, torch.Tensor],
    frames: int,
    like: Mapping[str, torch.Tensor],
) -> torch.Tensor:
    if tensor.ndim == 0:  # BatchNorm's batch counter has no shape to change
        return tensor
    branch, _, part = name.rpartition(GLOBAL_BRANCH)
    first = f"{branch}{GLOBAL_BRANCH}0.weight"
    hidden, old = state[first].shape
    if first in like:
        frames = like[first].shape[1]
    there, back = _hidden_units(hidden, hidden // old * frames)  # E, Q
    value = tensor.double()
    if part == "0.weight":
        value = there @ value @ _interval_means(old, frames)
    else:
        value = value @ back if part == "3.weight" else there @ value
    return value.to(tensor.dtype)


def _interval_means(old: int, new: int) -> torch.Tensor:
    """Return the matrix P [old, new], where P[i, j] is the fraction of interval i that frame j covers.

    The clip is divided into `old` equal intervals, and independently into `new` frames of equal length.
    """
    # Measure time in units of 1 / (old · new) of the clip, so that all edges of intervals are integers.
    interval, frame = torch.arange(old)[:, None] * new, torch.arange(new) * old
    overlap = torch.minimum(interval + new, frame + old) - torch.maximum(interval, frame)
    return overlap.clamp(min=0).double() / new


def _hidden_units(old: int, new: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the matrices E [new, old] and Q [old, new]. If new ≥ old, the product Q · E is the identity."""
    few, many = sorted((old, new))
    copies = torch.eye(few, dtype=torch.float64)[torch.arange(many) * few // many]  # [many, few]
    means = (copies / copies.sum(0)).mT  # [few, many]
    return (copies, means) if new >= old else (means, copies)

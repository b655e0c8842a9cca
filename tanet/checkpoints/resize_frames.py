"""Adaptation of trained weights to another number of frames T, which shapes TAM's global branch.

    G.0 [αT, T]    G.1 BatchNorm of αT    G.3 [K, αT]        (also in `tanet-r`, `global`, `global+se`)

From T to T' frames, with three matrices whose rows sum to 1:

    G.0' = E · G.0 · P        G.1' = E · G.1        G.3' = G.3 · Q

    P [T, T']      time: averages the T' frames over each of T equal intervals of the clip
    E [αT', αT]    hidden units: copies the old ones; if T' < T, averages groups of them
    Q [αT, αT']    output weights: divides a unit's weight among its copies; if T' < T, sums over each group

Preserved: for T' ≥ T, the new module computes from T' frames exactly the kernel Θ that the old one computes
from their interval means (P). So a clip in which each frame is repeated T'/T times gives the same kernel.
T → 2T → T restores the weights. Hidden units have no order, so they are copied rather than interpolated.

Lost: after T → 2T, neighbouring frames are half as far apart in time, but the kernel and the local branch
still reach one frame in each direction. Fine-tune the result.

    tanet convert mine8.safetensors mine16.safetensors --frames 16 --change-frames interpolate
"""

from collections.abc import Mapping

import torch

from tanet.errors import UserError

GLOBAL_BRANCH = ".temporal.G."
"""Part of the name of every weight of a global branch."""


def depends_on_frames(state: Mapping[str, torch.Tensor]) -> bool:
    """Return whether a VideoNet's weights depend on T, so that they fit only one clip length."""
    return any(GLOBAL_BRANCH in name for name in state)


def resize_frames(state: dict[str, torch.Tensor], *, frames: int) -> dict[str, torch.Tensor]:
    """Return weights for clips of another length. `state` is not changed.

    Args:
        state: a VideoNet's state dict. Only the weights of global branches are replaced.
        frames: T'.

    Raises:
        UserError: T' is not positive.
    """
    if frames < 1:
        raise UserError(f"frames must be positive, not {frames}")
    return {
        name: _resized(name, tensor, state, frames) if GLOBAL_BRANCH in name else tensor
        for name, tensor in state.items()
    }


def _resized(name: str, tensor: torch.Tensor, state: dict[str, torch.Tensor], frames: int) -> torch.Tensor:
    if tensor.ndim == 0:  # BatchNorm's batch counter
        return tensor
    branch, _, part = name.rpartition(GLOBAL_BRANCH)
    hidden, old = state[f"{branch}{GLOBAL_BRANCH}0.weight"].shape
    there, back = _hidden_units(hidden, hidden // old * frames)  # E, Q
    value = tensor.double()
    if part == "0.weight":
        value = there @ value @ _interval_means(old, frames)
    else:
        value = value @ back if part == "3.weight" else there @ value
    return value.to(tensor.dtype)


def _interval_means(old: int, new: int) -> torch.Tensor:
    """Return P [old, new]: the fraction of each of `old` intervals that each of `new` frames covers."""
    # The unit is 1 / (old · new) of the clip, so that all edges are integers.
    interval, frame = torch.arange(old)[:, None] * new, torch.arange(new) * old
    overlap = torch.minimum(interval + new, frame + old) - torch.maximum(interval, frame)
    return overlap.clamp(min=0).double() / new


def _hidden_units(old: int, new: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return E [new, old] and Q [old, new]. If new ≥ old, Q · E is the identity."""
    few, many = sorted((old, new))
    copies = torch.eye(few, dtype=torch.float64)[torch.arange(many) * few // many]  # [many, few]
    means = (copies / copies.sum(0)).mT  # [few, many]
    return (copies, means) if new >= old else (means, copies)

"""Another number of frames for weights that are there: T is part of TAM's global branch.

    G.0 [αT, T]    G.1 BatchNorm of αT    G.3 [K, αT]        (and of `tanet-r`, `global`, `global+se`)

From T to T' frames, with three matrices whose rows sum to 1:

    G.0' = E · G.0 · P        G.1' = E · G.1        G.3' = G.3 · Q

    P [T, T']      time: the mean of the T' frames over each of T equal intervals of the clip
    E [αT', αT]    hidden units: copies of the old ones; where they become fewer, means of groups of them
    Q [αT, αT']    what they give: shared out among the copies; added up in the groups

What is kept: for T' ≥ T the new module makes of T' frames the very kernel Θ that the old one makes of their
means P; so, of a clip whose frames are each shown T'/T times, the same kernel. T → 2T → T gives the weights
back. Hidden units have no order, hence copies of them, and no blends between neighbours.

What is lost: after T → 2T neighbouring frames lie half as far apart in time, and the kernel and the local
branch still look one frame each way. Fine-tune what comes out.

    tanet convert mine8.safetensors mine16.safetensors --frames 16 --change-frames interpolate
"""

from collections.abc import Mapping

import torch

from tanet.errors import UserError

GLOBAL_BRANCH = ".temporal.G."
"""What the names of a global branch's weights contain."""


def depends_on_frames(state: Mapping[str, torch.Tensor]) -> bool:
    """Whether T is a part of a VideoNet's weights, so that they fit one length of clips alone."""
    return any(GLOBAL_BRANCH in name for name in state)


def resize_frames(state: dict[str, torch.Tensor], *, frames: int) -> dict[str, torch.Tensor]:
    """The weights for clips of another length; the given ones stay as they are.

    Args:
        state: a VideoNet's state dict. Weights other than a global branch's are handed on.
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
    if tensor.ndim == 0:  # BatchNorm's counter
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
    """P [old, new]: how much of each of `old` intervals each of `new` frames fills."""
    # In units of 1 / (old · new) of the clip, so that the edges are whole numbers.
    interval, frame = torch.arange(old)[:, None] * new, torch.arange(new) * old
    overlap = torch.minimum(interval + new, frame + old) - torch.maximum(interval, frame)
    return overlap.clamp(min=0).double() / new


def _hidden_units(old: int, new: int) -> tuple[torch.Tensor, torch.Tensor]:
    """E [new, old] and Q [old, new]; where there are more units than before, Q · E = 1."""
    few, many = sorted((old, new))
    copies = torch.eye(few, dtype=torch.float64)[torch.arange(many) * few // many]  # [many, few]
    means = (copies / copies.sum(0)).mT  # [few, many]
    return (copies, means) if new >= old else (means, copies)

"""Writing of checkpoints in the format of tanet, or of another project.

TANets are written for TANet's published code and mmaction2, 3D networks as write3d.py says.
"""

import io
from pathlib import Path
from typing import Any, Literal

import torch

from tanet.checkpoints import checkpoint as checkpoints
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.convert.weight_names import MMACTION2, OFFICIAL, Names, to_theirs
from tanet.checkpoints.convert.write3d import CODEBASES, file_for, notes_for, writable
from tanet.errors import UserError
from tanet.models.insertion.sites import STAGES
from tanet.recipes.network2d import Network2D
from tanet.runtime.files import write_atomically

Target = Literal["tanet", "official", "mmaction2", "pyslowfast", "pytorchvideo", "torchvision"]
WRITABLE_BACKBONES = ("resnet50", "resnet101", "resnet152")
"""2D networks that a TANet of another project can contain."""


def write(path: str | Path, checkpoint: Checkpoint, *, to: Target) -> tuple[str, ...]:
    """Write a checkpoint in tanet's format (.safetensors), or for another project (.pth).

    Returns:
        Notes for the user, one line each. They say what the file does not contain, and which settings
        mmaction2 needs to read the file.

    Raises:
        UserError: `path` has the wrong suffix, or the other project does not support this network.
        OSError: the disk is full, or the folder cannot be written to.
    """
    path = Path(path)
    check_name(path, to=to)
    if to == "tanet":
        checkpoints.save(path, checkpoint)
        return ()
    content = io.BytesIO()
    model = checkpoint.recipe.model
    notes = [f"{path}: this format does not contain class names and recipe; pass them on separately"]
    if to == "official":
        torch.save(to_official(checkpoint), content)
    elif to == "mmaction2" and isinstance(model, Network2D):
        torch.save(to_mmaction2(checkpoint), content)
        if settings := _tam_cfg(model):
            notes.append(f"{path}: mmaction2's config must say tam_cfg=dict({settings})")
    elif isinstance(model, Network2D):
        raise UserError(f"{CODEBASES[to]} has no {model.title}: use --to tanet")
    else:
        try:
            torch.save(file_for(checkpoint, to), content)
        except UserError as error:
            others = " or ".join(["tanet", *writable(checkpoint)])
            raise UserError(f"{error}: use --to {others}") from error
        notes += [f"{path}: {note}" for note in notes_for(model, to, spec=checkpoint.network.input_spec)]
    write_atomically(path, content.getvalue())
    return tuple(notes)


def check_name(path: Path, *, to: Target) -> None:
    """Raise UserError unless a file name ends as files for the target do."""
    endings = {"tanet": ".safetensors", "pyslowfast": ".pyth", "pytorchvideo": ".pyth"}
    ending = endings.get(to, ".pth")
    if path.suffix != ending:
        raise UserError(f"{path}: the name of a file for {to} must end in {ending}")


def to_official(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return a TANet's checkpoint in the format of the published code, without the optimizer's state.

    Raises:
        UserError: the published code does not support this network.
    """
    info = checkpoint.info
    model = _checked(checkpoint)
    found = (model.alpha, model.beta, model.kernel, model.local_kernel)
    if found != (2, 4, 3, 3):
        raise UserError(
            "the published code has TAMs of alpha 2, beta 4, kernel 3 and local_kernel 3; this network has "
            "{}, {}, {} and {}".format(*found)
        )
    return {
        "epoch": info.get("epoch", 0),
        "arch": model.backbone,
        "state_dict": {f"module.{k}": v for k, v in _state(checkpoint, OFFICIAL).items()},
        "best_prec1": info.get("best_prec1", 100 * (info.get("val_top1") or 0.0)),
    }


def to_mmaction2(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return a TANet's checkpoint in the format of mmaction2.

    Raises:
        UserError: mmaction2 does not support this network.
    """
    _checked(checkpoint)
    return {"meta": checkpoint.info, "state_dict": _state(checkpoint, MMACTION2)}


def _state(checkpoint: Checkpoint, names: Names) -> dict[str, torch.Tensor]:
    state = checkpoint.network.state_dict()
    return {theirs: state[ours].contiguous() for ours, theirs in to_theirs(state, names).items()}


def _checked(checkpoint: Checkpoint) -> Network2D:
    """Return the settings of a TANet that other projects can read."""
    model = checkpoint.recipe.model
    if not isinstance(model, Network2D):
        others = " or ".join(["tanet", *writable(checkpoint)])
        raise UserError(f"the published code is for TANets; this network is {model.title}: use --to {others}")
    if (
        model.temporal != "tam"
        or model.position not in ("auto", "b")
        or model.backbone not in WRITABLE_BACKBONES
    ):
        raise UserError(
            f"published TANets have tam at position b (or auto) of {', '.join(WRITABLE_BACKBONES)}; this "
            f"network has {model.temporal} at {model.position} of {model.backbone}: use --to tanet"
        )
    if model.blocks != "all":
        raise UserError(
            f"published TANets have a TAM in every block; this network has TAMs only in blocks of the kind "
            f"{model.blocks}: use --to tanet"
        )
    if set(model.stages) != set(STAGES):
        raise UserError(
            f"published TANets have a TAM in every block of {', '.join(STAGES)}; this network has TAMs only "
            f"in {', '.join(model.stages)}: use --to tanet"
        )
    return model


def _tam_cfg(model: Network2D) -> str:
    """Return the arguments of mmaction2's TAM that differ from mmaction2's defaults."""
    settings = {
        "alpha": (model.alpha, 2),
        "beta": (model.beta, 4),
        "adaptive_kernel_size": (model.kernel, 3),
        "adaptive_convolution_padding": (model.kernel // 2, 1),
        "conv1d_kernel_size": (model.local_kernel, 3),
    }
    return ", ".join(f"{name}={value}" for name, (value, usual) in settings.items() if value != usual)

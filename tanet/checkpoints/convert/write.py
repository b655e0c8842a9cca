"""Writing of checkpoints in the format of tanet, or of another project.

2D networks are written for published code and mmaction2 (write2d.py), 3D networks as write3d.py says.
"""

import io
from pathlib import Path
from typing import Literal

import torch

from tanet.checkpoints.checkpoint_file import Checkpoint, save
from tanet.checkpoints.convert.write2d import notes_for_2d, to_mmaction2, to_official
from tanet.checkpoints.convert.write3d import CODEBASES, file_for, notes_for, writable
from tanet.errors import UserError
from tanet.recipes.network2d import Network2D
from tanet.runtime.files import write_atomically

Target = Literal["tanet", "official", "mmaction2", "pyslowfast", "pytorchvideo", "torchvision"]


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
        save(path, checkpoint)
        return ()
    content = io.BytesIO()
    model = checkpoint.recipe.model
    notes = [f"{path}: this format does not contain class names and recipe; pass them on separately"]
    if to == "official":
        torch.save(to_official(checkpoint), content)
        notes += [f"{path}: {note}" for note in notes_for_2d(model, to)]
    elif to == "mmaction2" and isinstance(model, Network2D):
        torch.save(to_mmaction2(checkpoint), content)
        notes += [f"{path}: {note}" for note in notes_for_2d(model, to)]
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

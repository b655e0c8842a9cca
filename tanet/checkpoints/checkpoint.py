"""Loading of checkpoints by path or by name. `checkpoint_file` reads and writes the files.

If a file is something else than a checkpoint of tanet, the error says what, and what to do with it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from tanet.checkpoints import convert
from tanet.checkpoints.checkpoint_file import (
    Checkpoint,
    Header,
    NotACheckpointError,
    header_metadata,
    header_values,
    load_file,
    read_file_header,
    save,
)
from tanet.checkpoints.convert.recognise import recognise_backbone
from tanet.checkpoints.exported.network import ExportedNetwork
from tanet.checkpoints.file_kinds import kind_of_file
from tanet.checkpoints.sources import file_of
from tanet.checkpoints.weights import read_weights
from tanet.errors import UserError, with_article
from tanet.recipes.recipe import Recipe
from tanet.runtime.events import OnEvent, ignore

__all__ = [
    "Checkpoint",
    "Header",
    "header_metadata",
    "header_values",
    "load",
    "read_header",
    "read_recipe",
    "save",
]

T = TypeVar("T")


def load(path: str | Path, *, device: str | torch.device = "cpu", on_event: OnEvent = ignore) -> Checkpoint:
    """Read a checkpoint and build its network, in evaluation mode.

    Args:
        path: a path, also of a file of `tanet export`; a name of published weights, such as "i3d-k400"; or a
            checkpoint on the Hugging Face Hub, such as "hf://user/name". Weights are downloaded once and kept
            in a cache.
        device: device of the network. Exported networks run on the CPU.
        on_event: receives `Progress` and `Note` of a download.

    Raises:
        UserError: the file does not exist, cannot be downloaded, is not a tanet checkpoint, or is damaged;
            the message names the file and the cause.
    """
    checkpoint = _read(load_file, file_of(path, on_event=on_event))
    if not isinstance(checkpoint.network, ExportedNetwork):
        checkpoint.network.to(device)
    return checkpoint


def read_recipe(path: str | Path) -> Recipe:
    """Read the recipe of a checkpoint, without its weights.

    Raises:
        UserError: the file does not exist, is not a tanet checkpoint, or is damaged.
    """
    return read_header(path).recipe


def read_header(path: str | Path) -> Header:
    """Read the header of a checkpoint.

    Raises:
        UserError: the file does not exist, is not a tanet checkpoint, or is damaged; the message names the
            file and the cause.
    """
    return _read(read_file_header, file_of(path))


def _read(read: Callable[[Path], T], path: Path) -> T:
    """Read a file. If it is not a checkpoint of tanet, the error says what it is."""
    try:
        return read(path)
    except NotACheckpointError as error:
        raise UserError(f"{path}: {_what_else(path, error.cause)}") from error


def _what_else(path: Path, error: Exception | None) -> str:
    """Describe a file that is not a checkpoint of tanet, and say what the user can do with the file."""
    if kind := kind_of_file(path):
        return f"not a checkpoint but {kind}"
    try:
        state = read_weights(path).state
    except UserError:
        return f"not a checkpoint, or the file is damaged ({error})"
    if backbone := recognise_backbone(state):
        return (
            f"ImageNet weights of {backbone}, which know no actions; "
            f"train a network from them: tanet train finetune --init {path} --data.root FOLDER"
        )
    try:
        kind = convert.read(path).kind
    except UserError as other:
        return f"not a checkpoint of tanet: {str(other).removeprefix(f'{path}: ')}"
    return f"{with_article(kind)}; convert it first: tanet convert {path} {path.stem}.safetensors"

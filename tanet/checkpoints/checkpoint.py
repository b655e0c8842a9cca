"""A checkpoint says what it is: weights, recipe, class names and versions in one safetensors file.

Nothing is parsed from a path and nothing in a file is executed. It is written to a temporary file, synced and
renamed, so that a file under its final name is always whole.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from tanet.models.factory import build
from tanet.models.temporal import entry
from tanet.models.video_net import VideoNet
from tanet.recipes import recipe as recipes
from tanet.recipes.recipe import Recipe
from tanet.runtime.files import versions, write_atomically

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A network with all that is needed to use it."""

    network: VideoNet
    recipe: Recipe
    classes: tuple[str, ...]
    """Class names in the order of the logits."""
    info: dict[str, Any] = field(default_factory=dict)
    """What else was noted: epoch, accuracies, versions."""


def save(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the file at `path` is replaced only when the new one is complete.

    Raises:
        OSError: the disk is full, or the folder can not be written.
    """
    header = {
        "format": FORMAT,
        "recipe": recipes.to_dict(checkpoint.recipe),
        "classes": list(checkpoint.classes),
        "info": {**checkpoint.info, "versions": versions()},
    }
    state = {name: tensor.contiguous() for name, tensor in checkpoint.network.state_dict().items()}
    write_atomically(path, safetensors.torch.save(state, {"tanet": json.dumps(header)}))


def load(path: str | Path, *, device: str | torch.device = "cpu") -> Checkpoint:
    """Read a checkpoint and build its network, in evaluation mode.

    Raises:
        ValueError: no such file, not a checkpoint of tanet's, or damaged; the message names file and cause.
    """
    header = read_header(path)
    try:
        network = build(header.recipe.model, classes=len(header.classes))
        network.load_state_dict(safetensors.torch.load_file(path))
    except (safetensors.SafetensorError, RuntimeError, TypeError, ValueError) as error:
        cause = " ".join(str(error).split())  # PyTorch's has many lines
        raise ValueError(f"{path}: weights and recipe of the checkpoint do not fit: {cause}") from error
    return Checkpoint(network.to(device).eval(), header.recipe, header.classes, header.info)


def read_recipe(path: str | Path) -> Recipe:
    """The recipe of a checkpoint, without its weights.

    Raises:
        ValueError: as `load`.
    """
    return read_header(path).recipe


@dataclass(frozen=True)
class Header:
    """What a checkpoint says of itself, without its weights."""

    recipe: Recipe
    classes: tuple[str, ...]
    info: dict[str, Any]


def read_header(path: str | Path) -> Header:
    """What a checkpoint says of itself.

    Raises:
        ValueError: no such file, not a checkpoint of tanet's, or damaged; the message names file and cause.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("tanet", "null"))
    except (safetensors.SafetensorError, json.JSONDecodeError, OSError) as error:
        raise ValueError(f"{path}: not a checkpoint, or a damaged one ({error})") from error
    if not isinstance(header, dict) or not {"format", "recipe", "classes"} <= set(header):
        raise ValueError(f"{path}: a safetensors file, but not a checkpoint of tanet's")
    if header["format"] != FORMAT:
        raise ValueError(f"{path}: of another tanet's format ({header['format']}; known is {FORMAT})")
    classes, info = header["classes"], header.get("info", {})
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError(f"{path}: its class names can not be read: {classes!r:.80}")
    if not isinstance(info, dict):
        raise ValueError(f"{path}: its info can not be read: {info!r:.80}")
    return Header(_recipe(header["recipe"], path), tuple(classes), info)


def _recipe(values: Any, path: Path) -> Recipe:
    """The recipe in a header, which may be damaged or made by hand."""
    try:
        recipe = recipes.from_dict(values)
        entry(recipe.model.temporal)
        return recipe
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: its recipe can not be read: {error}") from error

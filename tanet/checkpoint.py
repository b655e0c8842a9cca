"""A checkpoint says what it is: weights, recipe, class names and versions in one safetensors file.

Nothing is parsed from a path and nothing in a file is executed. It is written to a temporary file, synced and
renamed, so that a file under its final name is always whole.
"""

import json
import os
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from tanet import recipe as recipes
from tanet.network import VideoNet, build
from tanet.recipe import Recipe

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
    header = _read_header(Path(path))
    try:
        recipe = recipes.from_dict(header["recipe"])
        classes = tuple(header["classes"])
        network = build(recipe.model, classes=len(classes))
        network.load_state_dict(safetensors.torch.load_file(path))
    except (safetensors.SafetensorError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: weights and recipe of the checkpoint do not fit: {error}") from error
    return Checkpoint(network.to(device).eval(), recipe, classes, header.get("info", {}))


def read_recipe(path: str | Path) -> Recipe:
    """The recipe of a checkpoint, without its weights.

    Raises:
        ValueError: as `load`.
    """
    try:
        return recipes.from_dict(_read_header(Path(path))["recipe"])
    except TypeError as error:
        raise ValueError(f"{path}: its recipe can not be read: {error}") from error


def load_2d_weights(backbone: nn.Module, path: str | Path) -> None:
    """Load an ImageNet state dict with torchvision's names into a 2D network, plugged or not.

    The file's classifier (`fc`, `classifier`, `AuxLogits`) is left out where the network has none.

    Raises:
        ValueError: the file can not be read, or a key is missing or left over; the message lists them.
    """
    state = _state_dict(Path(path))
    own = {name for name in backbone.state_dict() if ".temporal." not in name}
    state = {
        k: v for k, v in state.items() if k in own or not k.startswith(("fc.", "classifier.", "AuxLogits."))
    }
    # Counters of batches came to PyTorch later than many published files.
    missing = sorted(k for k in own - set(state) if not k.endswith("num_batches_tracked"))
    left_over = sorted(set(state) - own)
    if missing or left_over:
        raise ValueError(
            f"{path}: not the weights of this 2D network; "
            f"missing: {_some(missing)}; left over: {_some(left_over)}"
        )
    try:
        backbone.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ValueError(f"{path}: {error}") from error


def versions() -> dict[str, str]:
    """The versions that made a result; "source" for a tanet that was not installed."""
    found = {}
    for name in ("tanet", "torch", "numpy", "av"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "source"
    return found


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file that is either complete under its name or not there."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _read_header(path: Path) -> dict[str, Any]:
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
        raise ValueError(f"{path}: written by a newer tanet (format {header['format']}, known is {FORMAT})")
    return header


def _state_dict(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            state = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the file's damage leads to
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: can not be read as weights ({cause})") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{path}: holds no state dict")
    return state


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "none"

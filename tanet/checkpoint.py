"""A checkpoint says what it is: weights, recipe, class names and versions in one safetensors file.

Nothing is parsed from a path and nothing in a file is executed. It is written to a temporary file, synced and
renamed, so that a file under its final name is always whole.
"""

import errno
import json
import os
import pickle
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from tanet import recipe as recipes
from tanet.network import VideoNet, build
from tanet.recipe import Recipe
from tanet.temporal import entry

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


def read_weights(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The state dict in a file of PyTorch's or of safetensors, and what stands beside it (epoch, …).

    Raises:
        ValueError: the file can not be read, holds no state dict, or would have to be executed.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        if _is_safetensors(path):
            with safetensors.safe_open(path, framework="pt") as file:
                return safetensors.torch.load_file(path), dict(file.metadata() or {})
        with path.open("rb") as file:  # of a path, torch.load looks at the suffix
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the file's damage leads to
        raise ValueError(f"{path}: can not be read as weights ({_cause(path, error)})") from error
    beside = content if isinstance(content, dict) else {}
    state = beside.get("state_dict", content)
    if not (isinstance(state, dict) and state) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    ):
        raise ValueError(f"{path}: holds no state dict")
    return state, {} if state is content else {k: v for k, v in beside.items() if k != "state_dict"}


def misfit(state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> str:
    """How weights differ from those that are expected, by name and shape; empty where they fit."""
    # Counters of batches came to PyTorch later than many published files.
    missing = sorted(k for k in expected.keys() - state.keys() if not k.endswith("num_batches_tracked"))
    left_over = sorted(state.keys() - expected.keys())
    shapes = {k: (list(state[k].shape), list(expected[k].shape)) for k in state.keys() & expected.keys()}
    other = sorted(
        f"{k} {found} instead of {wanted}" for k, (found, wanted) in shapes.items() if found != wanted
    )
    if not missing and not left_over and not other:
        return ""
    return f"missing: {some(missing)}; left over: {some(left_over)}; of another shape: {some(other)}"


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
    """Write a file that is either complete under its name or not there, also after the power fails.

    Raises:
        OSError: the disk is full, or the folder can not be written; it names the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        unfinished.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """A new name is on the disk only when its folder is; Windows knows no such thing."""
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        except OSError as error:
            if error.errno != errno.EINVAL:  # some network mounts sync no folders
                raise
        finally:
            os.close(number)


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins as one of safetensors: eight bytes of length, then JSON, whatever its suffix."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


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


def _cause(path: Path, error: Exception) -> str:
    asked = re.search(r"GLOBAL (\S+)", str(error))
    if asked:
        code = (
            f'import torch; x = torch.load({json.dumps(str(path))}, map_location="cpu", weights_only=False); '
            'torch.save(x["state_dict"], "weights.pth")'
        )
        return (
            f"it holds an object of {asked[1]}, and nothing in a file is executed; "
            f"if you trust it, save its weights alone: python -c {shlex.quote(code)}"
        )
    if isinstance(error, pickle.UnpicklingError):
        return "damaged, or not a file of PyTorch's"
    return str(error).split(". ")[0].splitlines()[0] if str(error) else type(error).__name__


def some(names: list[str], most: int = 8) -> str:
    """The first few names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "none"

"""The file of a checkpoint: a safetensors file with the weights, the recipe, the class names and versions.

Nothing is inferred from the file name, and no code in the file is executed. A checkpoint is written to a
temporary file, synced to disk and renamed. So a file under the final name is always complete.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from tanet.checkpoints.exported.formats import KEY, Inputs, format_of, open_exported, parse_metadata
from tanet.checkpoints.exported.network import ExportedNetwork
from tanet.checkpoints.hub import hub_name
from tanet.errors import UserError
from tanet.models.factory import build
from tanet.models.network import Network
from tanet.models.temporal import find_temporal
from tanet.recipes import recipe as recipes
from tanet.recipes.fields import section_from_dict
from tanet.recipes.input_spec import InputSpec, spec_of
from tanet.recipes.network2d import Network2D
from tanet.recipes.recipe import Recipe
from tanet.runtime.files import versions, write_atomically

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """A network, with the recipe and the class names that are needed to use the network."""

    network: Network
    recipe: Recipe
    classes: tuple[str, ...]
    """Class names, in the order of the logits."""
    info: dict[str, Any] = field(default_factory=dict)
    """Further information, for example the epoch, the accuracies and the package versions."""


def save(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint. An existing file at `path` is replaced only when the new file is complete.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    network, info = checkpoint.network, {**checkpoint.info, "versions": versions()}
    header = Header(checkpoint.recipe, network.input_spec, checkpoint.classes, info)
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    write_atomically(path, safetensors.torch.save(state, header_metadata(header)))


@dataclass(frozen=True)
class Header:
    """Header of a checkpoint. The header contains everything except the weights."""

    recipe: Recipe
    input_spec: InputSpec
    classes: tuple[str, ...]
    info: dict[str, Any]


class NotACheckpointError(UserError):
    """A file is not a checkpoint of tanet. `cause` is the error that reading it raised, if any."""

    def __init__(self, path: Path, cause: Exception | None) -> None:
        super().__init__(f"{path}: not a checkpoint of tanet")
        self.cause = cause


def load_file(path: Path) -> Checkpoint:
    """Read the file of a checkpoint or of `tanet export`, and build its network, in evaluation mode.

    Raises:
        UserError: the file is not a checkpoint of tanet, or is damaged.
    """
    if format_of(path):
        return _open_exported(path)[0]
    header = read_file_header(path)
    try:
        network = build(header.recipe.model, classes=len(header.classes), input_spec=header.input_spec)
        network.load_state_dict(safetensors.torch.load_file(path))
    except (safetensors.SafetensorError, RuntimeError, TypeError, ValueError) as error:
        cause = " ".join(str(error).split())  # PyTorch's message has many lines
        raise UserError(f"{path}: the weights do not fit the recipe of the checkpoint: {cause}") from error
    return Checkpoint(network.eval(), header.recipe, header.classes, header.info)


def header_values(header: Header) -> dict[str, Any]:
    """Return a header as plain values."""
    return {
        "format": FORMAT,
        "recipe": recipes.to_dict(header.recipe),
        "input": asdict(header.input_spec),
        "classes": list(header.classes),
        "info": header.info,
    }


def header_metadata(header: Header) -> dict[str, str]:
    """Return a header as the metadata of a file."""
    return {KEY: json.dumps(header_values(header))}


def read_file_header(path: Path) -> Header:
    """Read the header of a checkpoint's file.

    Raises:
        UserError: the file is not a checkpoint of tanet (NotACheckpointError), or is damaged.
    """
    if format_of(path):
        return _open_exported(path)[1]
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("tanet", "null"))
    except (safetensors.SafetensorError, json.JSONDecodeError, OSError) as error:
        raise NotACheckpointError(path, error) from error
    if not isinstance(header, dict) or not {"format", "recipe", "classes"} <= set(header):
        raise NotACheckpointError(path, None)
    return _header(path, header)


def _open_exported(path: Path) -> tuple[Checkpoint, Header]:
    """Open the file of an exported network."""
    file = open_exported(path)
    values = parse_metadata(path, file)
    try:
        header, inputs = _header(path, values), Inputs.of(values["export"])
        if (inputs.frames, inputs.channels) != (
            header.recipe.eval.clip_frames or header.recipe.model.frames,
            header.recipe.model.channels,
        ):
            raise ValueError("the recipe is that of another network")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: the metadata cannot be read ({error}); export the network again") from error
    network = ExportedNetwork(
        file, inputs=inputs, classes=len(header.classes), input_spec=header.input_spec
    ).eval()
    return Checkpoint(network, header.recipe, header.classes, header.info), header


def _header(path: Path, header: dict[str, Any]) -> Header:
    """Check the values of a header."""
    if header["format"] != FORMAT:
        raise UserError(
            f"{path}: unknown format {header['format']}; this version of tanet reads format {FORMAT}"
        )
    classes, info = header["classes"], header.get("info", {})
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise UserError(f"{path}: the class names cannot be read: {classes!r:.80}")
    if not isinstance(info, dict):
        raise UserError(f"{path}: the field info cannot be read: {info!r:.80}")
    recipe, name = _recipe(header["recipe"], path), hub_name(path)
    info = {**info, "hub": name} if name else info
    return Header(recipe, _input_spec(header.get("input"), recipe, path), tuple(classes), info)


def _input_spec(values: Any, recipe: Recipe, path: Path) -> InputSpec:
    """Read the input specification (normalisation, frame step and sizes) of a checkpoint's header.

    Checkpoints of tanet 0.1.0 have no input specification. Their networks use ImageNet's normalisation.
    """
    if values is None:
        return spec_of(recipe)
    try:
        return section_from_dict(InputSpec, values, "input")
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: the input specification cannot be read: {error}") from error


def _recipe(values: Any, path: Path) -> Recipe:
    """Read the recipe of a checkpoint's header, and check the recipe. The file may be damaged or edited."""
    try:
        recipe = recipes.from_dict(values)
        if isinstance(recipe.model, Network2D):
            find_temporal(recipe.model.temporal)
        return recipe
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: the recipe cannot be read: {error}") from error

"""Reading of a checkpoint from another project, or from tanet itself, as a `Checkpoint`."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from tanet.checkpoints.checkpoint_file import Checkpoint, load_file
from tanet.checkpoints.convert.file_configs import read_config, shift_div_in_config
from tanet.checkpoints.convert.origins import find_not_yet
from tanet.checkpoints.convert.read_arguments import check_given, check_name
from tanet.checkpoints.convert.recipes3d import recipe_of
from tanet.checkpoints.convert.recognise import RecognisedNetwork, input_spec_2d, recognise
from tanet.checkpoints.convert.recognise3d import Recognised3D, recognise3d
from tanet.checkpoints.convert.structure2d import Temporal
from tanet.checkpoints.resize_frames import check_frames_can_change, depends_on_frames, resize_frames
from tanet.checkpoints.weights import WeightsFile, check_values, is_tanets, plain_file, read_weights
from tanet.data.frame_sampling import Style
from tanet.errors import UserError, with_article
from tanet.models.factory import build
from tanet.recipes import find_recipe
from tanet.recipes.input_spec import InputSpec, Normalisation
from tanet.recipes.network2d import Network2D
from tanet.recipes.recipe import Recipe

HOWTO100M_EMBEDDING = 512
"""Outputs of the published network: an embedding that its text network shares."""


@dataclass(frozen=True)
class ConvertedCheckpoint:
    """A converted checkpoint, the kind of the original file, and notes on the conversion."""

    kind: str
    """Kind of network and its project, for example "TSM of mmaction2"."""
    checkpoint: Checkpoint
    notes: tuple[str, ...]
    """Notes for the user: settings that had to be assumed, and weights that were changed or left out."""
    assumed: tuple[str, ...] = ()
    """Those of the notes that say which settings of a 3D network had to be assumed."""
    recipe_note: str = ""
    """Note on the recipe if it is that of the published test, so that no other one has to be assumed."""


def read(
    path: str | Path,
    *,
    temporal: Temporal = "tam",
    frames: int | None = None,
    shift_div: int | None = None,
    attention: Literal["softmax", "dot"] | None = None,
    interpolate: bool = False,
    classes: Sequence[str] | None = None,
    recipe: str | None = None,
    network: str | None = None,
    normalisation: Normalisation | None = None,
) -> ConvertedCheckpoint:
    """Read a checkpoint of another project that tanet knows, or of tanet itself.

    The projects are the published code of TANet, TSM, TSN, TRN, GST, ECO and bLVNet-TAM, mmaction2,
    torchvision, PySlowFast (Caffe2 files, too), pytorchvideo, pytorch-i3d and others (docs/convert.md).

    Args:
        path: the file, or the folder of a training.
        temporal: temporal module of another project's network if the file does not show it: the weights of
            `tam` and `tanet-r` have the same names and shapes, and a TSM with BN-Inception looks like a TSN.
        frames: number of frames per clip, T. None takes T from the file. If the file does not show T (TSM
            and 2D networks of other projects), None means 8.
        shift_div: another project's TSM shifts C / shift_div channels each way. None takes the value from
            mmaction2's config in the file. If the file has no config, None means 8.
        attention: how the non-local blocks of another project's 2D network weigh positions. None takes it
            from mmaction2's config in the file. If the file has no config, None means softmax.
        interpolate: whether to adapt weights to `frames` if the weights depend on T and were trained with
            another T (see resize_frames.py). If false, such weights raise UserError. Weights that do not
            depend on T are never changed.
        classes: class names in the order of the logits. None takes the names from the file. Files of other
            projects contain no names: for these files, None means the names 0, 1, …
        recipe: name of a recipe, which gives all settings except the model. None takes the recipe from the
            file. Files of other projects contain no recipe: for these files, None means `finetune`, and for
            3D networks the views of their published test.
        network: architecture of a 3D network of another project, for example "x3d-s". None chooses an
            architecture that fits, because the weights do not show the clip and the strides.
        normalisation: how the clips of a network of another project are normalised; a key of
            `NORMALISATIONS`. None takes the normalisation of its codebase.

    Returns:
        The checkpoint with its network in evaluation mode, the kind of network, and notes for the user.

    Raises:
        UserError: the file cannot be read, holds an unknown kind of network, lacks weights, has unexpected
            weights, or does not fit the arguments; the message names the cause.
    """
    if frames is not None and frames < 1:
        raise UserError(f"frames must be positive, not {frames}")
    check_name(network)
    path = plain_file(path)
    file = read_weights(path)
    own = is_tanets(file.beside)
    if own:
        source = ConvertedCheckpoint("checkpoint of tanet", load_file(path), ())
        check_values(path, file.state)
    else:
        source = _read_3d(path, file, network=network, normalisation=normalisation) or _read_2d(
            path,
            file,
            temporal=temporal,
            frames=frames,
            shift_div=shift_div,
            attention=attention,
            normalisation=normalisation,
        )
    checkpoint, notes = source.checkpoint, list(source.notes)
    model, a_kind = checkpoint.recipe.model, with_article(source.kind)
    given = {
        "temporal": None if temporal == "tam" else temporal,
        "shift_div": shift_div,
        "attention": attention,
        "network": network,
        "normalisation": normalisation,
    }
    check_given(f"{path} is {a_kind}", model, own=own, **given)
    if frames is not None and frames != model.frames:
        check_frames_can_change(checkpoint.network.state_dict(), path)
        depends = depends_on_frames(checkpoint.network.state_dict())
        if depends and not interpolate:
            raise UserError(
                f"{path}: the weights are for clips of {model.frames} frames, not {frames}: "
                "--change-frames interpolate adapts them"
            )
        checkpoint = _with_frames(checkpoint, frames)
        notes.append(
            f"weights for {model.frames} frames were adapted to {frames}: fine-tune them"
            if depends
            else f"now for clips of {frames} frames, not {model.frames}: the weights did not have to change"
        )
    recipe_note = source.recipe_note
    if recipe or not (own or recipe_note):
        checkpoint, recipe_note = _with_recipe(checkpoint, recipe or "finetune", kind=source.kind)
    notes += [recipe_note] if recipe_note else []
    if classes is not None:
        if len(classes) != len(checkpoint.classes):
            raise UserError(
                f"{path} has {len(checkpoint.classes)} classes, but {len(classes)} class names are given"
            )
        checkpoint = dataclasses.replace(checkpoint, classes=tuple(classes))
    elif not own:
        notes.append(_note_on_classes(source.kind, len(checkpoint.classes)))
    return dataclasses.replace(source, checkpoint=checkpoint, notes=tuple(notes))


def _note_on_classes(kind: str, count: int) -> str:
    if kind.endswith("HowTo100M") and count == HOWTO100M_EMBEDDING:
        return (
            f"the {count} outputs are an embedding of video and text, not classes, so labels mean nothing: "
            "fine-tune the network with --init, or use tanet features for the 1,024 features before it"
        )
    return f"classes are named 0 … {count - 1}; --class-names sets their names"


def _with_frames(checkpoint: Checkpoint, frames: int) -> Checkpoint:
    recipe, step = checkpoint.recipe, checkpoint.network.input_spec.frame_step
    data = recipe.data
    if step and not isinstance(recipe.model, Network2D):
        data = dataclasses.replace(data, window=frames * step)  # frames as far apart as before
    recipe = dataclasses.replace(recipe, data=data, model=dataclasses.replace(recipe.model, frames=frames))
    network = build(recipe.model, classes=len(checkpoint.classes), input_spec=checkpoint.network.input_spec)
    state = checkpoint.network.state_dict()
    network.load_state_dict(resize_frames(state, frames=frames, like=network.state_dict()))
    return dataclasses.replace(checkpoint, network=network.eval(), recipe=recipe)


def _with_recipe(checkpoint: Checkpoint, name: str, *, kind: str) -> tuple[Checkpoint, str]:
    """Return the checkpoint with a recipe, but tested as the code of the file tests it, and a note."""
    recipe = find_recipe(name)
    style, average = _testing_of(kind)
    recipe = dataclasses.replace(
        recipe, eval=dataclasses.replace(recipe.eval, style=style, average=average or recipe.eval.average)
    )
    model = dataclasses.replace(checkpoint.recipe.model, dropout=recipe.model.dropout)
    views = f"{recipe.eval.clips} × {recipe.eval.crops} views of {recipe.eval.size}²"
    note = f"{recipe.data.sampling} sampling and {views} are taken from recipe {name}; --recipe sets it"
    if style != "tanet":
        note += f"; clips and crops are placed as in the code of the file (eval.style {style})"
    return dataclasses.replace(checkpoint, recipe=dataclasses.replace(recipe, model=model)), note


def _testing_of(kind: str) -> tuple[Style, Literal["logits", "softmax"] | None]:
    """Return how the code that wrote a file places clips and crops, and what it averages over views."""
    if kind.endswith("mmaction2"):
        return "mmaction2", "softmax"
    if kind.endswith("the published code"):
        return "tsm" if kind.startswith("TSM") else "published", "logits"
    return "tanet", None


def _read_3d(
    path: Path, file: WeightsFile, *, network: str | None, normalisation: Normalisation | None
) -> ConvertedCheckpoint | None:
    """Read a 3D network; return None if the weights are of another kind."""
    if missing := find_not_yet(file.state):
        raise UserError(f"{path}: {with_article(missing)}, a network that tanet does not have yet")
    try:
        found = recognise3d(file.state, file.beside, network=network, normalisation=normalisation)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if found is None:
        return None
    recipe, note = recipe_of(found)
    checkpoint = _checkpoint(path, found, file, recipe=recipe, input_spec=found.input_spec)
    notes = (*file.notes, *found.notes)
    return ConvertedCheckpoint(found.kind, checkpoint, notes, assumed=found.notes, recipe_note=note)


def _checkpoint(
    path: Path,
    found: RecognisedNetwork | Recognised3D,
    file: WeightsFile,
    *,
    recipe: Recipe,
    input_spec: InputSpec | None = None,
) -> Checkpoint:
    """Build the network of a file and load its weights."""
    check_values(path, found.state)
    network = build(found.model, classes=found.classes, input_spec=input_spec)
    # Not strict: old files lack BatchNorm's batch counters. All other weights have been checked.
    network.load_state_dict(found.state, strict=False)
    classes = tuple(str(label) for label in range(found.classes))
    info = {"converted_from": found.kind, **_plain(file.beside)}
    return Checkpoint(network.eval(), recipe, classes, info)


def _read_2d(
    path: Path,
    file: WeightsFile,
    *,
    temporal: Temporal,
    frames: int | None,
    shift_div: int | None,
    attention: Literal["softmax", "dot"] | None,
    normalisation: Normalisation | None,
) -> ConvertedCheckpoint:
    found = recognise_file(
        path, file, temporal=temporal, frames=frames, shift_div=shift_div, attention=attention
    )
    try:
        spec, note = input_spec_2d(found, normalisation)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    notes = (*file.notes, *found.notes, *([note] if note else []))
    checkpoint = _checkpoint(path, found, file, recipe=Recipe(model=found.model), input_spec=spec)
    return ConvertedCheckpoint(found.kind, checkpoint, notes)


def recognise_file(
    path: str | Path,
    file: WeightsFile,
    *,
    temporal: Temporal = "tam",
    frames: int | None = None,
    shift_div: int | None = None,
    attention: Literal["softmax", "dot"] | None = None,
) -> RecognisedNetwork:
    """Recognise the network in a file of another project. The arguments are those of `read`.

    Raises:
        UserError: as `recognise`; the message begins with the path.
    """
    from_config = None if shift_div is not None else shift_div_in_config(file.beside)
    try:
        found = recognise(
            file.state,
            temporal=temporal,
            frames=frames,
            shift_div=shift_div if from_config is None else from_config,
            attention=attention or read_config(file.beside).attention,
        )
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    if from_config is None or found.model.temporal != "tsm":
        return found
    note = f"1/{from_config} of the channels is shifted each way, as the config in the file says"
    return dataclasses.replace(found, notes=(note, *found.notes))


def _plain(beside: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers and strings stored beside the weights, including those in mmaction2's `meta`."""
    plain = {}
    meta = beside.get("meta")
    for name, value in (beside | meta if isinstance(meta, dict) else beside).items():
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            value = value.item()
        if isinstance(value, (bool, int, float, str)):
            plain[str(name)] = value
    return plain

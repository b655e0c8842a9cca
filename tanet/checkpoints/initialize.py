"""Loading of initial weights for training, from a checkpoint or from a file of ImageNet weights."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TypeGuard

import torch

from tanet.checkpoints import convert
from tanet.checkpoints.centre_taps import from_plain
from tanet.checkpoints.checkpoint import Header, read_header
from tanet.checkpoints.convert.file_configs import shift_div_in_config
from tanet.checkpoints.convert.recognise import recognise_backbone
from tanet.checkpoints.part_starts import from_part, is_part
from tanet.checkpoints.resize_frames import other_frames, resize_frames
from tanet.checkpoints.sources import file_of
from tanet.checkpoints.weights import is_tanets, read_weights, state_dict_diff
from tanet.errors import UserError
from tanet.models.input_channels import for_input_channels
from tanet.models.network import Network
from tanet.models.temporal import find_temporal
from tanet.recipes.input_spec import spec_like
from tanet.recipes.network2d import Network2D
from tanet.recipes.network_settings import NetworkSettings

State = dict[str, torch.Tensor]
STATIC = ".temporal.S"
"""End of the name of a TAM's static kernel."""


def load_initial_weights(
    network: Network,
    path: str | Path,
    *,
    model: NetworkSettings,
    classes: Sequence[str],
    interpolate: bool = False,
) -> list[str]:
    """Copy a checkpoint's weights into a network that will be trained.

    The classifier's weights are copied only if the checkpoint has the same classes in the same order.
    Otherwise the network keeps the initial weights of its classifier. A plain 3D network may start a network
    with TAMs (centre_taps.py) or non-local blocks, as in the SlowFast paper. A network that is a part of the
    new one may start it, too (part_starts.py), and a network for RGB frames one for optical flow
    (models/input_channels.py).

    Args:
        network: network that receives the weights. It is changed in place.
        path: a checkpoint of tanet, or one of another project that `convert.read` supports.
        model: the settings that the network was built from. They are compared with the checkpoint's settings,
            because weights alone do not show all settings: a temporal shift has no weights, and the weights
            of `tam` and `tanet-r` have the same names and shapes.
        classes: the class names of the new training.
        interpolate: whether to adapt weights that fit only another clip length (see resize_frames.py). If
            false, such weights raise UserError.

    Returns:
        Notes for the user, one line each. They name the weights that were adapted or not copied, and the
        settings in which the network differs from the trained network.

    Raises:
        UserError: the file is not a checkpoint, its weights are for clips of another length, or some weights
            do not fit. The message names the weights that do not fit.
    """
    header, state, notes = _read_start(path, model)
    own, trained_model = network.state_dict(), header.recipe.model
    if is_part(trained_model, model):
        state, note = from_part(state, own, trained_model)
        network.load_state_dict(state)
        return [f"{path}: {note}"]
    _check_kind(path, trained_model, model)
    notes += _differences(trained_model, model)
    is_plain = model.tam and not trained_model.tam and not isinstance(model, Network2D)
    if is_plain:
        state, note = from_plain(state, own)
        notes.append(note)
    state, note = _fit_static_kernels(path, state, own)
    notes += note
    if added := {name: own[name] for name in own.keys() - state.keys() if ".non_local." in name}:
        state |= added
        notes.append("trained without these non-local blocks, which are new and change nothing at first")
    if trained_model.is_flow and not model.is_flow:
        raise UserError(f"{path}: trained on optical flow, so it cannot start a network for RGB frames")
    if model.is_flow and trained_model.is_flow and model.channels != trained_model.channels:
        raise UserError(
            f"{path}: trained with --model.flows {trained_model.flows_per_frame}: give the same number"
        )
    if model.is_flow and not trained_model.is_flow:
        state = for_input_channels(state, network)
        notes.append("trained on RGB frames, so the first kernels start as the mean over their channels")
    state, more = _fit_frames(path, state, own, trained=trained_model, model=model, interpolate=interpolate)
    notes += more
    if header.classes != tuple(classes):
        state |= {name: tensor for name, tensor in own.items() if name.startswith("head.")}
        notes.append(f"trained on other classes ({len(header.classes)}), so the classifier is not copied")
    if difference := state_dict_diff(state, own):
        was, now = (getattr(settings, "temporal", "") for settings in (trained_model, model))
        if was != now and not is_plain:
            raise _misfit(path, "temporal", was, now)
        raise UserError(f"{path}: the weights do not fit this network; {difference}")
    network.load_state_dict(state, strict=False)
    network.temporal_trained = not is_plain and (model.tam or not added)
    trained = header.input_spec
    if trained.frame_step and network.input_spec.frame_step not in (0, trained.frame_step):
        notes.append(
            f"trained with a frame step of {trained.frame_step}, now {network.input_spec.frame_step}"
        )
    network.input_spec = spec_like(network.input_spec, trained)
    return [f"{path}: {note}" for note in notes]


def _read_start(path: str | Path, model: NetworkSettings) -> tuple[Header, State, list[str]]:
    """Return the header and the weights of a checkpoint of tanet or another project, and notes.

    A file of another project may not show the `shift_div` of a TSM. The value in `model` is then assumed.
    """
    file = read_weights(file_of(path))
    if is_tanets(file.beside):
        return read_header(path), file.state, []
    source = convert.read(file_of(path))
    checkpoint, notes = source.checkpoint, list(source.assumed)
    recipe, network = checkpoint.recipe, checkpoint.network
    trained = recipe.model
    if _is_tsm(trained) and _is_tsm(model) and shift_div_in_config(file.beside) is None:
        trained = dataclasses.replace(trained, shift_div=model.shift_div)
        recipe = dataclasses.replace(recipe, model=trained)
        notes.append(f"the file does not show model.shift_div: {model.shift_div} assumed")
    header = Header(recipe, network.input_spec, checkpoint.classes, checkpoint.info)
    return header, network.state_dict(), notes


def _is_tsm(model: NetworkSettings) -> TypeGuard[Network2D]:
    return isinstance(model, Network2D) and model.temporal == "tsm"


def _check_kind(path: str | Path, trained: NetworkSettings, model: NetworkSettings) -> None:
    """Raise UserError unless two networks are of the same family and, for 2D networks, have one backbone."""
    if type(trained) is not type(model):
        raise UserError(
            f"{path}: the file has another kind of network, {trained.title}, than the recipe, {model.title}; "
            "--init FILE takes the network from the file"
        )
    if isinstance(trained, Network2D) and isinstance(model, Network2D) and trained.backbone != model.backbone:
        raise _misfit(path, "backbone", trained.backbone, model.backbone)


def _fit_frames(
    path: str | Path,
    state: State,
    own: State,
    *,
    trained: NetworkSettings,
    model: NetworkSettings,
    interpolate: bool,
) -> tuple[State, list[str]]:
    """Return weights for clips of the new length, and notes. The weights change only if TAMs depend on it."""
    was, now = trained.frames, model.frames
    if not other_frames(state, own):
        both = [f"trained on clips of {was} frames, now {now}: its weights fit both"]
        return state, both if was != now else []
    cause = f"clips of {was} frames, not {now}" if was != now else "TAMs on other numbers of frames"
    if not interpolate:
        adapts = "--model.init-frames interpolate adapts them"
        raise UserError(f"{path}: the weights are for {cause}: {adapts}")
    adapted = f"weights for {was} frames adapted to {now}" if was != now else f"weights for {cause} adapted"
    return resize_frames(state, frames=now, like=own), [adapted]


def _fit_static_kernels(path: str | Path, state: State, own: State) -> tuple[State, list[str]]:
    """Return weights with a static kernel for each TAM that has one (0 if the file has none), and notes."""
    if extra := [name for name in state.keys() - own.keys() if name.endswith(STATIC)]:
        raise UserError(
            f"{path}: {len(extra)} TAMs in the file have a static kernel: give --model.static-kernel zeros"
        )
    missing = {
        name: torch.zeros_like(tensor)
        for name, tensor in own.items()
        if name.endswith(STATIC) and name not in state and _has_module(state, name.removesuffix("S"))
    }
    note = f"trained without static kernels: {len(missing)} of them start at 0"
    return {**state, **missing}, [note] if missing else []


def _has_module(state: State, prefix: str) -> bool:
    """Return whether some weights begin with `prefix`, such as layer1.0.conv2.temporal."""
    return any(name.startswith(prefix) for name in state)


def _misfit(path: str | Path, field: str, trained: str, now: str) -> UserError:
    """Return the error for a file whose network has a different backbone or temporal module."""
    return UserError(
        f"{path}: the weights do not fit this network: the file has {field} {trained}, "
        f"model.{field} is {now}; leave out --model.{field}, or start from another file"
    )


def _differences(trained: NetworkSettings, model: NetworkSettings) -> list[str]:
    """List the settings in which the new network differs from the trained network of the same family.

    The shapes of the weights do not always show these differences. Of a 2D network, only the settings of the
    temporal module are compared.
    """
    was, now = (
        _temporal(settings) if isinstance(settings, Network2D) else _own_settings(settings)
        for settings in (trained, model)
    )
    return [f"trained with {k} {was[k]}, now {now[k]}" for k in was if k in now and was[k] != now[k]]


def _own_settings(model: NetworkSettings) -> dict[str, str]:
    """Return the settings that only the family of a 3D network has, except `temporal`, as texts."""
    shared = {field.name for field in dataclasses.fields(NetworkSettings)} | {"temporal"}
    values = {f.name: getattr(model, f.name) for f in dataclasses.fields(model) if f.name not in shared}
    return {
        name: (", ".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)
        for name, value in values.items()
    }


def _temporal(model: Network2D) -> dict[str, str | int]:
    """Return the settings of the temporal module, the non-local blocks and the consensus."""
    attention = {"non_local": model.non_local, "consensus": model.consensus}
    module = find_temporal(model.temporal)
    if module is None:
        return {"temporal module": "none", **attention}
    return {
        "temporal module": model.temporal,
        "position": module.place if model.position == "auto" else model.position,
        "stages": ", ".join(model.stages),
        "blocks": model.blocks,
        "kernel": model.kernel,
        **attention,
        **({"shift_div": model.shift_div} if model.temporal == "tsm" else {}),
    }


def read_trained(path: str | Path) -> Header | str:
    """Read all but the weights of a checkpoint of tanet or another project.

    For ImageNet weights with torchvision's names, return the name of their 2D network.

    Raises:
        UserError: the file cannot be read, or its network is unknown.
    """
    file = read_weights(file_of(path))
    if is_tanets(file.beside):
        return read_header(path)
    if backbone := recognise_backbone(file.state):
        return backbone
    checkpoint = convert.read(file_of(path)).checkpoint
    return Header(checkpoint.recipe, checkpoint.network.input_spec, checkpoint.classes, checkpoint.info)


def started_from(trained: NetworkSettings, path: str | Path, model: NetworkSettings) -> NetworkSettings:
    """Return the settings of the trained network, but with the dropout of the new training."""
    return dataclasses.replace(trained, dropout=model.dropout, weights="", init=str(path), init_frames="same")

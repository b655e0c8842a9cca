"""Loading of initial weights for training, from a checkpoint or from a file of ImageNet weights."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from tanet.checkpoints import convert
from tanet.checkpoints.checkpoint import Header, read_header, read_recipe
from tanet.checkpoints.convert.read import recognise_file, shift_div_in_config
from tanet.checkpoints.convert.recognise import recognise_backbone
from tanet.checkpoints.resize_frames import depends_on_frames, resize_frames
from tanet.checkpoints.weights import is_tanets, read_weights, state_dict_diff
from tanet.errors import UserError
from tanet.models.temporal import find_temporal
from tanet.models.video_net import VideoNet
from tanet.recipes.input_spec import spec_like
from tanet.recipes.recipe import Network2D


def load_initial_weights(
    network: VideoNet,
    path: str | Path,
    *,
    model: Network2D,
    classes: Sequence[str],
    interpolate: bool = False,
) -> list[str]:
    """Copy a checkpoint's weights into a network that will be trained.

    The classifier's weights are copied only if the checkpoint has the same classes in the same order.
    Otherwise the network keeps the initial weights of its classifier.

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
    if trained_model.backbone != model.backbone:
        raise _misfit(path, "backbone", trained_model.backbone, model.backbone)
    frames, notes = trained_model.frames, notes + _differences(trained_model, model)
    if frames != network.frames and not depends_on_frames(state):
        notes.append(f"trained on clips of {frames} frames, now {network.frames}: its weights fit both")
    elif frames != network.frames:
        if not interpolate:
            raise UserError(
                f"{path}: the weights are for clips of {frames} frames, not {network.frames}: "
                "--model.init-frames interpolate adapts them"
            )
        state = resize_frames(state, frames=network.frames)
        notes.append(f"weights for {frames} frames adapted to {network.frames}")
    if header.classes != tuple(classes):
        state |= {name: tensor for name, tensor in own.items() if name.startswith("head.")}
        notes.append(f"trained on other classes ({len(header.classes)}), so the classifier is not copied")
    if difference := state_dict_diff(state, own):
        if trained_model.temporal != model.temporal:
            raise _misfit(path, "temporal", trained_model.temporal, model.temporal)
        raise UserError(f"{path}: the weights do not fit this network; {difference}")
    network.load_state_dict(state, strict=False)
    trained = header.input_spec
    if trained.frame_step and network.input_spec.frame_step not in (0, trained.frame_step):
        notes.append(
            f"trained with a frame step of {trained.frame_step}, now {network.input_spec.frame_step}"
        )
    network.input_spec = spec_like(network.input_spec, trained)
    return [f"{path}: {note}" for note in notes]


def _read_start(path: str | Path, model: Network2D) -> tuple[Header, dict[str, torch.Tensor], list[str]]:
    """Return the header and the weights of a checkpoint of tanet or another project, and notes.

    A file of another project may not show the `shift_div` of a TSM. The value in `model` is then assumed.
    """
    file = read_weights(path)
    if is_tanets(file.beside):
        return read_header(path), file.state, []
    checkpoint, notes = convert.read(path).checkpoint, []
    recipe, network = checkpoint.recipe, checkpoint.network
    if recipe.model.temporal == model.temporal == "tsm" and shift_div_in_config(file.beside) is None:
        trained = dataclasses.replace(recipe.model, shift_div=model.shift_div)
        recipe = dataclasses.replace(recipe, model=trained)
        notes.append(f"the file does not show model.shift_div: {model.shift_div} assumed")
    header = Header(recipe, network.input_spec, checkpoint.classes, checkpoint.info)
    return header, network.state_dict(), notes


def _misfit(path: str | Path, field: str, trained: str, now: str) -> UserError:
    """Return the error for a file whose network has a different backbone or temporal module."""
    return UserError(
        f"{path}: the weights do not fit this network: the file has {field} {trained}, "
        f"model.{field} is {now}; leave out --model.{field}, or start from another file"
    )


def _differences(trained: Network2D, model: Network2D) -> list[str]:
    """List the settings of the temporal module in which the new network differs from the trained network.

    The shapes of the weights do not always show these differences.
    """
    was, now = _temporal(trained), _temporal(model)
    return [f"trained with {k} {was[k]}, now {now[k]}" for k in was if k in now and was[k] != now[k]]


def _temporal(model: Network2D) -> dict[str, str | int]:
    """Return a dictionary with the settings of the temporal module."""
    module = find_temporal(model.temporal)
    if module is None:
        return {"temporal module": "none"}
    return {
        "temporal module": model.temporal,
        "position": module.place if model.position == "auto" else model.position,
        "stages": ", ".join(model.stages),
        "blocks": model.blocks,
        "kernel": model.kernel,
        **({"shift_div": model.shift_div} if model.temporal == "tsm" else {}),
    }


def load_backbone_weights(backbone: nn.Module, path: str | Path) -> None:
    """Load ImageNet weights with torchvision's names into a 2D network.

    The network may contain temporal modules, whose weights are not changed. If the network has no classifier,
    the classifier in the file (`fc`, `classifier`, `AuxLogits`) is not loaded.

    Raises:
        UserError: the file cannot be read, or some weights do not fit. The message names these weights.
    """
    state = read_weights(path).state
    own = {name: tensor for name, tensor in backbone.state_dict().items() if ".temporal." not in name}
    theirs, ours = recognise_backbone(state), recognise_backbone(own)
    if theirs and ours and theirs != ours:
        raise _misfit(path, "backbone", theirs, ours)
    state = {
        k: v for k, v in state.items() if k in own or not k.startswith(("fc.", "classifier.", "AuxLogits."))
    }
    if difference := state_dict_diff(state, own):
        raise UserError(f"{path}: the weights do not fit this 2D network; {difference}")
    backbone.load_state_dict(state, strict=False)


def model_from_file(path: str | Path, model: Network2D) -> Network2D:
    """Return the settings of a network for a training that starts from the weights in a file.

    Args:
        path: a checkpoint of tanet, of another project that `convert.read` supports, or ImageNet weights with
            torchvision's names.
        model: settings in the recipe of the training. A checkpoint replaces all settings except dropout.
            ImageNet weights replace only the 2D network.

    Raises:
        UserError: the file cannot be read, or its network is unknown.
    """
    file = read_weights(path)
    state = file.state
    if is_tanets(file.beside):
        return _started_from(read_recipe(path).model, path, model)
    if backbone := recognise_backbone(state):
        return dataclasses.replace(model, backbone=backbone, weights=str(path), init="")
    return _started_from(recognise_file(path, file).model, path, model)


def _started_from(trained: Network2D, path: str | Path, model: Network2D) -> Network2D:
    """Return the settings of the trained network, but with the dropout of the new training."""
    return dataclasses.replace(trained, dropout=model.dropout, weights="", init=str(path), init_frames="same")

"""Initial weights for training: from a checkpoint of tanet or another project, or from ImageNet."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from tanet.checkpoints import convert
from tanet.checkpoints.checkpoint import Header, read_header, read_recipe
from tanet.checkpoints.convert.recognise import recognise, recognise_backbone
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
    """Copy a checkpoint's weights into a network that is to be trained further.

    The classifier is copied only if the classes are the same, in the same order; otherwise it is not changed.

    Args:
        network: changed in place.
        path: a checkpoint of tanet, or one of another project that `convert.read` supports.
        model: the settings the network was built from. They are compared with those of the checkpoint,
            because weights alone do not reveal all settings: a temporal shift has no weights, and those of
            `tam` and `tanet-r` look the same.
        classes: the class names of the new training.
        interpolate: adapt weights trained on clips of another length (resize_frames.py) instead of refusing
            them.

    Returns:
        Notes, one line each: what was not copied unchanged, and how the network differs from the trained one.

    Raises:
        UserError: the file is not a checkpoint, its weights are for clips of another length, or some do not
            fit; the message names them.
    """
    state, beside = read_weights(path)
    if is_tanets(beside):
        header = read_header(path)
    else:
        checkpoint = convert.read(path).checkpoint
        header = Header(checkpoint.recipe, checkpoint.network.input_spec, checkpoint.classes, checkpoint.info)
        state = checkpoint.network.state_dict()
    own = network.state_dict()
    frames, notes = header.recipe.model.frames, _differences(header.recipe.model, model)
    if frames != network.frames and not depends_on_frames(state):
        notes.append(f"trained on clips of {frames} frames, now {network.frames}: its weights fit both")
    elif frames != network.frames:
        if not interpolate:
            raise UserError(
                f"{path}: trained on clips of {frames} frames, not {network.frames}: "
                "--model.init-frames interpolate adapts its weights"
            )
        state = resize_frames(state, frames=network.frames)
        notes.append(f"weights for {frames} frames adapted to {network.frames}")
    if header.classes != tuple(classes):
        state |= {name: tensor for name, tensor in own.items() if name.startswith("head.")}
        notes.append(f"trained on other classes ({len(header.classes)}), so the classifier is not copied")
    if difference := state_dict_diff(state, own):
        raise UserError(f"{path}: its weights do not fit this network; {difference}")
    network.load_state_dict(state, strict=False)
    trained = header.input_spec
    if trained.frame_step and network.input_spec.frame_step not in (0, trained.frame_step):
        notes.append(
            f"trained with a frame step of {trained.frame_step}, now {network.input_spec.frame_step}"
        )
    network.input_spec = spec_like(network.input_spec, trained)
    return [f"{path}: {note}" for note in notes]


def _differences(trained: Network2D, model: Network2D) -> list[str]:
    """List how a network differs from the trained one in settings that the shapes of weights may not show."""
    was, now = _temporal(trained), _temporal(model)
    return [f"trained with {k} {was[k]}, now {now[k]}" for k in was if k in now and was[k] != now[k]]


def _temporal(model: Network2D) -> dict[str, str | int]:
    """Return a recipe's settings of the temporal module."""
    module = find_temporal(model.temporal)
    if module is None:
        return {"temporal module": "none"}
    return {
        "temporal module": model.temporal,
        "position": module.place if model.position == "auto" else model.position,
        "stages": ", ".join(model.stages),
        "kernel": model.kernel,
    }


def load_backbone_weights(backbone: nn.Module, path: str | Path) -> None:
    """Load ImageNet weights with torchvision's names into a 2D network, with or without temporal modules.

    The file's classifier (`fc`, `classifier`, `AuxLogits`) is left out if the network has none.

    Raises:
        UserError: the file cannot be read, or weights do not fit; the message names them.
    """
    state, _ = read_weights(path)
    own = {name: tensor for name, tensor in backbone.state_dict().items() if ".temporal." not in name}
    state = {
        k: v for k, v in state.items() if k in own or not k.startswith(("fc.", "classifier.", "AuxLogits."))
    }
    if difference := state_dict_diff(state, own):
        raise UserError(f"{path}: its weights do not fit this 2D network; {difference}")
    backbone.load_state_dict(state, strict=False)


def model_from_file(path: str | Path, model: Network2D) -> Network2D:
    """Return the model section of a recipe whose training starts from this file.

    Args:
        path: a checkpoint of tanet, of the published codes or of mmaction2, or ImageNet weights with
            torchvision's names.
        model: the recipe's model section. Its dropout is kept. For ImageNet weights only the 2D network is
            replaced.

    Raises:
        UserError: the file cannot be read, or its network is unknown.
    """
    state, beside = read_weights(path)
    if is_tanets(beside):
        return _started_from(read_recipe(path).model, path, model)
    if backbone := recognise_backbone(state):
        return dataclasses.replace(model, backbone=backbone, weights=str(path), init="")
    try:
        found = recognise(state, temporal="tam", frames=None)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return _started_from(found.model, path, model)


def _started_from(trained: Network2D, path: str | Path, model: Network2D) -> Network2D:
    """Return the settings of the trained network, with the dropout of the new training."""
    return dataclasses.replace(trained, dropout=model.dropout, weights="", init=str(path), init_frames="same")

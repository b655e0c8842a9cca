"""Weights to start a training from: of a checkpoint, tanet's or others', or ImageNet's for the 2D network."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from tanet.checkpoints import convert
from tanet.checkpoints.checkpoint import read_header, read_recipe
from tanet.checkpoints.convert.recognise import image_network, recognise
from tanet.checkpoints.resize_frames import change_frames, depends_on_frames
from tanet.checkpoints.weights import misfit, read_weights
from tanet.models.temporal import entry
from tanet.models.video_net import VideoNet
from tanet.recipes.recipe import Model


def load_start(
    network: VideoNet, path: str | Path, *, model: Model, classes: Sequence[str], interpolate: bool = False
) -> list[str]:
    """Copy a checkpoint's weights into a network that is to be trained further.

    The classifier is copied where the classes are the same, in the same order; else it stays as it is.

    Args:
        network: it changes in place.
        path: a checkpoint of tanet's, or one of others that `convert.read` knows.
        model: what the network was built as. Weights tell less than a recipe: a shift has none, and those of
            `tam` and `tanet-r` look the same.
        classes: the class names of the new training.
        interpolate: change weights trained on clips of another length (frames.py), instead of refusing them.

    Returns:
        What was not simply copied, and how the network is not the one that was trained; one line each.

    Raises:
        ValueError: the file is not a checkpoint, has weights for clips of another length, or weights do not
            fit; the message names them.
    """
    state, beside = read_weights(path)
    if "tanet" in beside:
        header = read_header(path)
    else:
        header = convert.read(path).checkpoint
        state = header.network.state_dict()
    own = network.state_dict()
    frames, notes = header.recipe.model.frames, _differences(header.recipe.model, model)
    if frames != network.frames and not depends_on_frames(state):
        notes.append(f"trained on clips of {frames} frames, now {network.frames}: its weights fit both")
    elif frames != network.frames:
        if not interpolate:
            raise ValueError(
                f"{path}: trained on clips of {frames} frames, not {network.frames}: "
                "--model.init-frames interpolate changes its weights"
            )
        state = change_frames(state, frames=network.frames)
        notes.append(f"weights for {frames} frames changed for {network.frames}")
    if header.classes != tuple(classes):
        state |= {name: tensor for name, tensor in own.items() if name.startswith("head.")}
        notes.append(f"trained on other classes ({len(header.classes)}), so the classifier starts afresh")
    if difference := misfit(state, own):
        raise ValueError(f"{path}: not the weights of this network; {difference}")
    network.load_state_dict(state, strict=False)
    return [f"{path}: {note}" for note in notes]


def _differences(trained: Model, model: Model) -> list[str]:
    """How a network differs from the one that was trained, in what the shapes of weights may not show."""
    was, now = _temporal(trained), _temporal(model)
    return [f"trained with {k} {was[k]}, now {now[k]}" for k in was if k in now and was[k] != now[k]]


def _temporal(model: Model) -> dict[str, str | int]:
    """What a recipe says of the temporal module."""
    module = entry(model.temporal)
    if module is None:
        return {"temporal module": "none"}
    return {
        "temporal module": model.temporal,
        "position": module.place if model.position == "auto" else model.position,
        "stages": ", ".join(model.stages),
        "kernel": model.kernel,
    }


def load_2d_weights(backbone: nn.Module, path: str | Path) -> None:
    """Load an ImageNet state dict with torchvision's names into a 2D network, plugged or not.

    The file's classifier (`fc`, `classifier`, `AuxLogits`) is left out where the network has none.

    Raises:
        ValueError: the file can not be read, or weights do not fit; the message names them.
    """
    state, _ = read_weights(path)
    own = {name: tensor for name, tensor in backbone.state_dict().items() if ".temporal." not in name}
    state = {
        k: v for k, v in state.items() if k in own or not k.startswith(("fc.", "classifier.", "AuxLogits."))
    }
    if difference := misfit(state, own):
        raise ValueError(f"{path}: not the weights of this 2D network; {difference}")
    backbone.load_state_dict(state, strict=False)


def starting_from(path: str | Path, model: Model) -> Model:
    """The model section of a recipe that starts from this file.

    Args:
        path: a checkpoint of tanet's, of the published codes or of mmaction2, or ImageNet's weights with
            torchvision's names.
        model: the recipe's own; its dropout stays, and what an image network does not settle.

    Raises:
        ValueError: the file can not be read, or is of no known network.
    """
    state, beside = read_weights(path)
    if "tanet" in beside:
        return _as(read_recipe(path).model, path, model)
    if backbone := image_network(state):
        return dataclasses.replace(model, backbone=backbone, weights=str(path), init="")
    try:
        found = recognise(state, temporal="tam", frames=None)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return _as(found.model, path, model)


def _as(trained: Model, path: str | Path, model: Model) -> Model:
    """The network that was trained, with the dropout of the training to come."""
    return dataclasses.replace(trained, dropout=model.dropout, weights="", init=str(path), init_frames="same")

"""Which network a file of weights starts: `tanet train finetune --init FILE`, with no other flag.

A checkpoint of tanet's, or a published one of a video network, brings its network along: 2D network, temporal
module, frames. ImageNet's weights bring their 2D network, and the recipe says what is plugged into it.
"""

import dataclasses
from pathlib import Path

from tanet.checkpoint import read_recipe, read_weights
from tanet.convert.recognise import image_network, recognise
from tanet.recipe import Model


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

"""The Open Inference Protocol, version 2, as KServe and Triton speak it (JSON).

input   clips    UINT8 [B, T, H, W, 3], frames as decoded, of any size
output  scores   FP32  [B, classes], probabilities
"""

from typing import Any

import numpy as np
import torch

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.data.views import cut_views
from tanet.errors import UserError
from tanet.runtime.files import versions


def server() -> dict[str, Any]:
    """Describe the server."""
    return {"name": "tanet", "version": versions()["tanet"], "extensions": []}


def describe(name: str, model: Checkpoint) -> dict[str, Any]:
    """Describe a model."""
    frames = model.network.frames
    return {
        "name": name,
        "versions": ["1"],
        "platform": "pytorch",
        "inputs": [{"name": "clips", "datatype": "UINT8", "shape": [-1, frames, -1, -1, 3]}],
        "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, len(model.classes)]}],
    }


def views_of(body: Any, model: Checkpoint, *, most: int) -> list[torch.Tensor]:
    """Return the views of each clip of a request, uint8 [crops, T, C, S, S].

    Raises:
        UserError: the request has another form, or more than `most` clips.
    """
    try:
        (entry,) = (one for one in body["inputs"] if one["name"] == "clips")
        shape = [int(side) for side in entry["shape"]]
        if entry["datatype"] != "UINT8":
            raise ValueError(f"datatype {entry['datatype']}")
        data = np.asarray(entry["data"])
        if data.size and not (data.min() >= 0 and data.max() <= 255):
            raise ValueError("values beyond 0 … 255")
        clips = data.astype(np.uint8).reshape(shape)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"expected one input clips, UINT8 [B, T, H, W, 3], with its data: {error}") from error
    frames = model.network.frames
    if len(shape) != 5 or shape[1] != frames or shape[4] != 3 or 0 in shape:
        raise UserError(f"expected clips [B, {frames}, H, W, 3], not {shape}")
    if shape[0] > most:
        raise UserError(f"at most {most} clips in a request, not {shape[0]}")
    return list(cut_views(torch.from_numpy(clips), model.recipe.eval).unflatten(0, (shape[0], -1)))


def answer(name: str, identity: object, scores: torch.Tensor) -> dict[str, Any]:
    """Return the answer to a request: probabilities [B, classes]."""
    output = {
        "name": "scores",
        "datatype": "FP32",
        "shape": list(scores.shape),
        "data": scores.flatten().tolist(),
    }
    found = {"model_name": name, "model_version": "1", "outputs": [output]}
    return found if identity is None else {**found, "id": str(identity)}

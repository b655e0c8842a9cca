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
from tanet.inference.serve.limits import Limits
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


def views_of(body: Any, model: Checkpoint, limits: Limits) -> list[torch.Tensor]:
    """Return the views of each clip of a request, uint8 [crops, T, C, S, S].

    Raises:
        UserError: the request has another form, more clips than a batch, or frames that are too large.
    """
    try:
        (entry,) = (one for one in body["inputs"] if one["name"] == "clips")
        shape, data = entry["shape"], np.asarray(entry["data"])
        if not all(type(side) is int and side > 0 for side in shape) or entry["datatype"] != "UINT8":
            raise ValueError(shape)
        if data.dtype.kind not in "iu" or not (data.min() >= 0 and data.max() <= 255):
            raise ValueError(data.dtype)
        clips = data.astype(np.uint8).reshape(shape)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise UserError(
            "expected one input clips with datatype UINT8, shape [B, T, H, W, 3], and data of as many "
            "integers from 0 to 255"
        ) from error
    frames = model.network.frames
    if len(shape) != 5 or shape[1] != frames or shape[4] != 3:
        raise UserError(f"expected clips [B, {frames}, H, W, 3], not {shape}")
    if shape[0] > limits.batch:
        raise UserError(f"at most {limits.batch} clips in a request, not {shape[0]}")
    if too_large := limits.problem(height=shape[2], width=shape[3]):
        raise UserError(too_large)
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
    if identity is None:
        return found
    return {**found, "id": str(identity).encode("utf-8", "replace").decode()}

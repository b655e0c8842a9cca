"""Writing of 3D networks for PySlowFast, pytorchvideo and mmaction2."""

from collections.abc import Mapping
from typing import Any, Literal

import torch

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.convert.layouts import to_their_layout
from tanet.checkpoints.convert.names3d import TABLES, swapped, translated
from tanet.errors import UserError
from tanet.recipes.network_settings import NetworkSettings

Target3D = Literal["pyslowfast", "pytorchvideo", "mmaction2"]
CODEBASES: dict[Target3D, str] = {
    "pyslowfast": "PySlowFast",
    "pytorchvideo": "pytorchvideo",
    "mmaction2": "mmaction2",
}
META = {"lateral_norm": (True,), "attention_style": ("wang",), "stem_stride": (1,), "pool1": ("space",)}
POSSIBLE: dict[Target3D, dict[str, tuple[object, ...]]] = {
    "pyslowfast": {**META, "res5_stride": (2,)},
    "pytorchvideo": {**META, "res5_stride": (2,), "non_local": ((),)},
    "mmaction2": {
        "lateral_norm": (False,),
        "attention_style": ("mmaction2",),
        "pool1": ("space", "skip"),
        "width_factor": (2.0,),
    },
}
"""Target → settings whose other values the codebase does not have, with the values that it has."""
DIFFERENT: dict[Target3D, dict[str, object]] = {
    "pyslowfast": {"slow_frames": "linspace"},
    "pytorchvideo": {"slow_frames": "linspace"},
    "mmaction2": {"slow_frames": "stride", "head_window": 0},
}
"""Target → what the codebase always does, although the weights fit another value, too."""


def state_for(checkpoint: Checkpoint, target: Target3D) -> dict[str, torch.Tensor]:
    """Return the weights of a 3D network with the names and shapes of another codebase.

    Raises:
        UserError: the codebase does not have this network.
    """
    model, codebase = checkpoint.recipe.model, CODEBASES[target]
    tables = TABLES.get(model.family, {})
    if codebase not in tables or model.tam:
        raise UserError(f"{codebase} has no {model.title}: use --to tanet")
    if codebase == "pytorchvideo" and getattr(model, "pool2", "none") != "none":
        tables = {**tables, codebase: tables["pytorchvideo, pooled"]}
    for field, known in POSSIBLE[target].items():
        value = getattr(model, field, known[0])
        if value not in known and not (field == "attention_style" and not getattr(model, "non_local", ())):
            raise UserError(f"{codebase} has no such network with model.{field} {value}: use --to tanet")
    state = to_their_layout(checkpoint.network.state_dict(), codebase=codebase, family=model.family)
    names, unknown = translated(state, swapped(tables[codebase]))
    assert not unknown, unknown
    return {names[ours]: tensor.contiguous() for ours, tensor in state.items()}


def file_for(checkpoint: Checkpoint, target: Target3D) -> dict[str, Any]:
    """Return the content of a file that another codebase reads.

    Raises:
        UserError: the codebase does not have this network.
    """
    state = state_for(checkpoint, target)
    if target == "mmaction2":
        return {"meta": checkpoint.info, "state_dict": state}
    return {"model_state": state, "epoch": checkpoint.info.get("epoch", 0), "cfg": _config(checkpoint)}


def notes_for(model: NetworkSettings, target: Target3D) -> list[str]:
    """Return what the other codebase will do otherwise, one line each."""
    return [
        f"{CODEBASES[target]} has {field} {_shown(value)}, this network {_shown(getattr(model, field))}: "
        "its answers will differ a little"
        for field, value in DIFFERENT[target].items()
        if getattr(model, field, value) != value
    ]


def _config(checkpoint: Checkpoint) -> str:
    """Return the lines of PySlowFast's config that say what the weights do not show."""
    model, spec = checkpoint.recipe.model, checkpoint.network.input_spec
    attention = {"softmax": "softmax", "dot": "dot_product"}.get(getattr(model, "attention", ""), "")
    sections: Mapping[str, Mapping[str, object]] = {
        "DATA": {
            "NUM_FRAMES": model.frames,
            "SAMPLING_RATE": spec.frame_step,
            "TRAIN_CROP_SIZE": spec.size,
            "TEST_CROP_SIZE": spec.resize,
        },
        "SLOWFAST": {"ALPHA": getattr(model, "speed_ratio", "")},
        "NONLOCAL": {"INSTANTIATION": attention},
    }
    lines = []
    for section, values in sections.items():
        given = [f"  {name}: {value}" for name, value in values.items() if value != ""]
        lines += [f"{section}:", *given] if given else []
    return "\n".join(lines) + "\n"


def _shown(value: object) -> str:
    return "one average over the map" if value == 0 else str(value)

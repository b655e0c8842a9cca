"""Writing of 3D networks for PySlowFast, pytorchvideo, mmaction2 and torchvision."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch

from tanet.checkpoints.checkpoint_file import Checkpoint
from tanet.checkpoints.convert.layouts import to_their_layout
from tanet.checkpoints.convert.names3d import TABLES, swapped, translated
from tanet.checkpoints.convert.origins import ORIGINS
from tanet.errors import UserError
from tanet.recipes.input_spec import InputSpec
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.networks3d_factored import S3D
from tanet.recipes.published3d import R2PLUS1D_18

Target3D = Literal["pyslowfast", "pytorchvideo", "mmaction2", "torchvision"]
CODEBASES: dict[Target3D, str] = {
    "pyslowfast": "PySlowFast",
    "pytorchvideo": "pytorchvideo",
    "mmaction2": "mmaction2",
    "torchvision": "torchvision",
}
RESIDUAL = ("resnet3d", "slowfast", "x3d")
WRITTEN: dict[Target3D, tuple[str, ...]] = {
    "pyslowfast": RESIDUAL,
    "pytorchvideo": RESIDUAL,
    "mmaction2": RESIDUAL,
    "torchvision": ("s3d", "video-resnet"),
}
"""Target → families that are written. More are read."""
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
    "torchvision": {
        "style": ("torchvision",),
        "gates": ("none",),
        "stem": ("7x1x1",),
        "pool_padding": ("both",),
    },
}
"""Target → settings whose other values the codebase does not have, with the values that it has."""
SLOW_FRAMES: dict[Target3D, str] = {
    "pyslowfast": "linspace",
    "pytorchvideo": "linspace",
    "mmaction2": "stride",
    "torchvision": "linspace",
}
"""Target → slow_frames of the codebase, although the weights fit the other value, too."""
STRIDE = 32  # pixels of the frame per place of the last map


def state_for(checkpoint: Checkpoint, target: Target3D) -> dict[str, torch.Tensor]:
    """Return the weights of a 3D network with the names and shapes of another codebase.

    Raises:
        UserError: the codebase does not have this network.
    """
    model, codebase = checkpoint.recipe.model, CODEBASES[target]
    tables = TABLES.get(model.family, {})
    if codebase not in tables or model.tam or model.family not in WRITTEN[target]:
        raise UserError(f"{codebase} has no {model.title}")
    if codebase == "pytorchvideo" and getattr(model, "pool2", "none") != "none":
        tables = {**tables, codebase: tables["pytorchvideo, pooled"]}
    if getattr(model, "convolutions", "2+1d") != "2+1d":
        tables = {**tables, codebase: tables["torchvision, 3d"]}
    for field, known in POSSIBLE[target].items():
        value = getattr(model, field, known[0])
        if value not in known and not (field == "attention_style" and not getattr(model, "non_local", ())):
            raise UserError(f"{codebase} has no such network with model.{field} {value}")
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
    if target == "torchvision":
        return dict(state)
    if target == "mmaction2":
        return {"meta": checkpoint.info, "state_dict": state}
    return {"model_state": state, "epoch": checkpoint.info.get("epoch", 0), "cfg": _config(checkpoint)}


def writable(checkpoint: Checkpoint) -> list[Target3D]:
    """Return the targets that have a 3D network."""
    found: list[Target3D] = []
    for target in CODEBASES:
        try:
            state_for(checkpoint, target)
        except UserError:
            continue
        found.append(target)
    return found


def notes_for(model: NetworkSettings, target: Target3D, *, spec: InputSpec) -> list[str]:
    """Return what the other codebase will do otherwise, one line each."""
    codebase, notes = CODEBASES[target], []
    slow, ours = SLOW_FRAMES[target], getattr(model, "slow_frames", SLOW_FRAMES[target])
    if slow != ours:
        notes.append(
            f"{codebase} has slow_frames {slow}, this network {ours}: its answers will differ a little"
        )
    window = getattr(model, "head_window", 0)
    theirs: int | str = 0 if target == "mmaction2" else math.ceil(spec.size / STRIDE)
    if target == "torchvision":
        theirs = S3D.head_window if isinstance(model, S3D) else 0
        eps = S3D.norm_eps if isinstance(model, S3D) else R2PLUS1D_18.norm_eps
        if (ours := getattr(model, "norm_eps", eps)) != eps:
            notes.append(f"{codebase}'s BatchNorms have eps {eps:g}, this network's {ours:g}: set it there")
    if theirs != window:
        notes.append(
            f"{codebase} {_averages(theirs)}; this network {_averages(window)}: "
            "its answers for larger frames differ a little"
        )
    return [*notes, *_normalisation(model, target, spec)]


def _averages(window: int | str) -> str:
    if isinstance(window, str):
        return f"has head_window {window}"
    return f"uses {window}×{window} windows" if window else "averages the whole map"


def _normalisation(model: NetworkSettings, target: Target3D, spec: InputSpec) -> list[str]:
    """Return a note on mean, std and channels if the codebase's own configs have others."""
    origin = ORIGINS[CODEBASES[target]]
    usual = origin.inputs.get(model.family, origin.input_spec)
    white = 255.0 if target == "mmaction2" else 1.0  # the others divide pixels by 255
    (mean, std), theirs = _mean_and_std(spec, white), _mean_and_std(usual, white)
    pairs = zip((*mean, *std), (*theirs[0], *theirs[1]), strict=True)
    if spec.channels == usual.channels and all(math.isclose(a, b, rel_tol=1e-3) for a, b in pairs):
        return []
    shown = [", ".join(f"{value:.6g}" for value in values) for values in (mean, std)]
    return [
        f"this network needs mean {shown[0]} and std {shown[1]} of {spec.channels.upper()} values from 0 to "
        f"{white:g}: {CODEBASES[target]}'s usual config has others"
    ]


def _mean_and_std(spec: InputSpec, white: float) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation for pixels from 0 to `white`."""
    low, high = spec.range
    scale = white / (high - low)
    return [(value - low) * scale for value in spec.mean], [value * scale for value in spec.std]


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

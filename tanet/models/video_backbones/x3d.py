"""X3D: clips [B, T, 3, H, W] → logits [B, classes].

    block    1×1×1 → BN → ReLU → depthwise 3×3×3 → BN [→ SE] → Swish → 1×1×1 → BN, + shortcut, → ReLU
    head     1×1×1 → BN → ReLU → average → linear → ReLU → dropout → classifier

Squeeze and excitation (SE) is in every second block of a stage. The number of frames never shrinks; each
stage halves height and width. Feichtenhofer: "X3D: Expanding Architectures for Efficient Video Recognition",
CVPR 2020. Widths are rounded to multiples of 8, as in the paper; only so X3D-XL has its published size.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from tanet.models.video_backbones.clip_network import (
    ClipNetwork,
    average_windows,
    conv3d,
    initialize,
    to_maps,
)
from tanet.models.video_backbones.resnet3d import Shortcut
from tanet.recipes.input_spec import InputSpec
from tanet.recipes.networks3d import X3D

STEM, DEPTHS = 12, (1, 2, 5, 3)  # before the factors
INNER, SQUEEZED = 2.25, 0.0625  # widths inside a block and inside SE, in multiples of the width outside
HIDDEN = 2048


class SqueezeExcite(nn.Module):
    """Squeeze and excitation: scales each channel of [B, C, T, H, W] by a gate between 0 and 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = rounded(channels * SQUEEZED)
        self.reduce = nn.Conv3d(channels, squeezed, 1)
        self.expand = nn.Conv3d(squeezed, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scale the channels of feature maps."""
        gate = self.expand(F.relu(self.reduce(x.mean((2, 3, 4), keepdim=True))))
        return x * gate.sigmoid()


class X3DBlock(nn.Module):
    """Block with a depthwise convolution: [B, channels, T, H, W] → [B, width, T, H/stride, W/stride]."""

    def __init__(self, channels: int, *, width: int, stride: int, has_se: bool) -> None:
        super().__init__()
        inner = int(INNER * width)
        self.conv1 = conv3d(channels, outputs=inner, kernel=(1, 1, 1))
        self.norm1 = nn.BatchNorm3d(inner)
        self.conv2 = conv3d(inner, outputs=inner, kernel=(3, 3, 3), stride=(1, stride, stride), groups=inner)
        self.norm2 = nn.BatchNorm3d(inner)
        self.se = SqueezeExcite(inner) if has_se else None
        self.conv3 = conv3d(inner, outputs=width, kernel=(1, 1, 1))
        self.norm3 = nn.BatchNorm3d(width)
        changes = stride > 1 or channels != width
        self.shortcut = Shortcut(channels, outputs=width, stride=stride) if changes else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps; the class docstring gives the shapes."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        y = F.silu(y if self.se is None else self.se(y))
        y = self.norm3(self.conv3(y))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)), inplace=True)


class X3DStem(nn.Module):
    """Separated first convolution: [B, 3, T, H, W] → [B, width, T, H/2, W/2]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_space = conv3d(3, outputs=width, kernel=(1, 3, 3), stride=(1, 2, 2))
        self.conv_time = conv3d(width, outputs=width, kernel=(5, 1, 1), groups=width)
        self.norm = nn.BatchNorm3d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform clips; the class docstring gives the shapes."""
        return F.relu(self.norm(self.conv_time(self.conv_space(x))), inplace=True)


class X3DNetwork(ClipNetwork):
    """X3D network, built from the settings in a recipe."""

    memory_format = torch.contiguous_format  # depthwise convolutions train slowly in channels-last-3d
    optimized_format = torch.channels_last_3d  # `optimize` has a kernel for them

    def __init__(self, model: X3D, *, classes: int, input_spec: InputSpec) -> None:
        super().__init__(model, features=HIDDEN, classes=classes, input_spec=input_spec)
        self.head_window = model.head_window
        channels = rounded(STEM * model.width_factor)
        self.stem = X3DStem(channels)
        stages = []
        for number, depth in enumerate(DEPTHS):
            width = rounded(STEM * 2**number * model.width_factor)
            stages.append(_stage(channels, width=width, depth=math.ceil(depth * model.depth_factor)))
            channels = width
        self.res2, self.res3, self.res4, self.res5 = stages
        inner = int(INNER * channels)
        self.conv5 = conv3d(channels, outputs=inner, kernel=(1, 1, 1))
        self.norm5 = nn.BatchNorm3d(inner)
        self.hidden = nn.Linear(inner, HIDDEN, bias=False)
        initialize(self)
        for module in self.modules():
            if isinstance(module, X3DBlock):
                nn.init.zeros_(module.norm3.weight)  # each block starts as its shortcut
        nn.init.kaiming_normal_(self.hidden.weight, mode="fan_out", nonlinearity="relu")

    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the stages and the names of their modules; see `Network`."""
        first = {stage: (stage,) for stage in ("stem", "res2", "res3", "res4")}
        return {**first, "res5": ("res5", "conv5", "norm5", "hidden")}

    def windows(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the features of each window: [B, T, 3, H, W] → [B, P, F]."""
        x = self.res5(self.res4(self.res3(self.res2(self.stem(to_maps(clips))))))
        x = F.relu(self.norm5(self.conv5(x)), inplace=True)
        return F.relu(self.hidden(average_windows(x, self.head_window)))


def _stage(channels: int, *, width: int, depth: int) -> nn.Sequential:
    """Build the blocks of a stage. The first one halves height and width."""
    return nn.Sequential(
        *(
            X3DBlock(
                width if block else channels, width=width, stride=1 if block else 2, has_se=block % 2 == 0
            )
            for block in range(depth)
        )
    )


def rounded(width: float) -> int:
    """Round a width to a multiple of 8, at least 8; up one step if rounding would lose over a tenth."""
    multiple = max(8, int(width + 4) // 8 * 8)
    return multiple + 8 if multiple < 0.9 * width else multiple

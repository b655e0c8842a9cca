"""R(2+1)D, R3D and MC3: ResNets with basic blocks, clips [B, T, 3, H, W] → logits [B, classes].

Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", CVPR 2018. R(2+1)D
replaces each 3×3×3 convolution by

    1×3×3 to M channels → BN → ReLU → 3×1×1,    M = ⌊3·3·3·C_in·C_out / (3·3·C_in + 3·C_out)⌋

so that the number of weights stays. Code in public use computes M in three ways; see `VideoResNet.style`.
"""

import torch
from torch import nn
from torch.nn import functional as F

from tanet.models.video_backbones.clip_network import (
    ClipNetwork,
    average_windows,
    initialize,
    to_maps,
)
from tanet.models.video_backbones.resnet3d import pool_stem
from tanet.models.video_backbones.units3d import ConvNorm3d, FactoredConv3d, set_norms
from tanet.recipes.input_spec import InputSpec
from tanet.recipes.networks3d_factored import VideoResNet

MIDDLE_EPS = 1e-5  # mmaction2's norm_eps does not reach the BatchNorms between space and time
STEM_MIDDLE = 45  # fixed in the authors' code; the formula gives 83


def middle_channels(channels: int, outputs: int, *, kernel: int = 3) -> int:
    """Return M, the number of channels between 1×k×k and 3×1×1 with as many weights as 3×k×k."""
    area = kernel**2
    return 3 * area * channels * outputs // (area * channels + 3 * outputs)


class BasicBlock3d(nn.Module):
    """Residual block of two 3×3×3 units: [B, channels, T, H, W] → [B, outputs, T/stride, H/stride, W/stride].

    Args:
        channels: channels of the input.
        outputs: channels of the output.
        stride: stride over space, and over time unless the block sees single frames.
        sees_time: whether 3D kernels see neighbouring frames.
        model: settings of the network.
    """

    def __init__(
        self, channels: int, *, outputs: int, stride: int, sees_time: bool, model: VideoResNet
    ) -> None:
        super().__init__()
        shared = middle_channels(channels, outputs) if model.style == "torchvision" else None

        def unit(width: int, step: int) -> nn.Module:
            if model.convolutions == "2+1d":
                middle = shared or middle_channels(width, outputs)
                return FactoredConv3d(width, middle=middle, outputs=outputs, stride=step)
            taps, time = (3, step) if sees_time else (1, 1)
            return ConvNorm3d(width, outputs=outputs, kernel=(taps, 3, 3), stride=(time, step, step))

        self.unit1, self.unit2 = unit(channels, stride), unit(outputs, 1)
        self.shortcut: nn.Module | None = None
        if stride > 1 or channels != outputs:
            if model.style == "mmaction2":
                middle = middle_channels(channels, outputs, kernel=1)
                self.shortcut = FactoredConv3d(
                    channels, middle=middle, outputs=outputs, kernel=1, taps=1, stride=stride
                )
            else:
                strides = (stride if sees_time else 1, stride, stride)
                self.shortcut = ConvNorm3d(channels, outputs=outputs, kernel=(1, 1, 1), stride=strides)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps; the class docstring gives the shapes."""
        y = self.unit2(F.relu(self.unit1(x), inplace=True))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)), inplace=True)


class VideoResNetNetwork(ClipNetwork):
    """R(2+1)D, R3D or MC3, built from the settings in a recipe."""

    def __init__(self, model: VideoResNet, *, classes: int, input_spec: InputSpec) -> None:
        width = model.width
        super().__init__(model, features=8 * width, classes=classes, input_spec=input_spec)
        self.pools = model.style == "mmaction2"
        self.stem = _stem(model)
        channels = width
        for number, count in enumerate(model.blocks):
            outputs = width * 2**number
            blocks = []
            for block in range(count):
                blocks.append(
                    BasicBlock3d(
                        channels,
                        outputs=outputs,
                        stride=2 if number and not block else 1,
                        sees_time=model.convolutions != "mixed" or not number,
                        model=model,
                    )
                )
                channels = outputs
            self.add_module(f"res{number + 2}", nn.Sequential(*blocks))
        set_norms(self, eps=model.norm_eps)
        if model.style == "mmaction2":
            for module in self.modules():
                if isinstance(module, FactoredConv3d):
                    module.norm_space.eps = MIDDLE_EPS
        initialize(self)

    def windows(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the features of each clip: [B, T, 3, H, W] → [B, 1, F]."""
        x = F.relu(self.stem(to_maps(clips)), inplace=True)
        if self.pools:
            x = pool_stem(x)
        x = self.run_stages(x)
        return average_windows(x, 0)


def _stem(model: VideoResNet) -> nn.Module:
    width = model.width
    if model.convolutions != "2+1d":
        return ConvNorm3d(3, outputs=width, kernel=(3, 7, 7), stride=(1, 2, 2))
    middle = middle_channels(3, width, kernel=7) if model.style == "mmaction2" else STEM_MIDDLE
    return FactoredConv3d(3, middle=middle, outputs=width, kernel=7, stride=2, time_stride=1)

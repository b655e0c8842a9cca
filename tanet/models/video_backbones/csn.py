"""Channel-separated networks: clips [B, T, 3, H, W] → logits [B, classes].

Tran et al., "Video Classification with Channel-Separated Convolutional Networks", ICCV 2019. A bottleneck
block has a depthwise convolution in the place of 3×3×3:

    ip-CSN    1×1×1 → BN → ReLU → 1×1×1 → BN → 3×3×3 depthwise → BN → ReLU → 1×1×1 → BN, + shortcut, → ReLU
    ir-CSN    1×1×1 → BN → ReLU → 3×3×3 depthwise → BN → ReLU → 1×1×1 → BN, + shortcut, → ReLU

The first blocks of res3 to res5 have stride 2 over time and space.
"""

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
from tanet.models.video_backbones.resnet3d import Stem3d, pool_stem
from tanet.models.video_backbones.units3d import ConvNorm3d, set_norms
from tanet.recipes.input_spec import InputSpec
from tanet.recipes.networks3d_factored import CSN


class CSNBlock(nn.Module):
    """Bottleneck block: [B, channels, T, H, W] → [B, 4·width, T/stride, H/stride, W/stride].

    Args:
        channels: channels of the input.
        width: channels inside the block.
        stride: stride over time and space.
        mixes: whether a 1×1×1 convolution comes before the depthwise one (ip-CSN).
    """

    def __init__(self, channels: int, *, width: int, stride: int, mixes: bool) -> None:
        super().__init__()
        outputs, one = 4 * width, (1, 1, 1)
        self.conv1 = conv3d(channels, outputs=width, kernel=one)
        self.norm1 = nn.BatchNorm3d(width)
        self.mix = ConvNorm3d(width, outputs=width, kernel=one) if mixes else None
        self.conv2 = conv3d(
            width, outputs=width, kernel=(3, 3, 3), stride=(stride, stride, stride), groups=width
        )
        self.norm2 = nn.BatchNorm3d(width)
        self.conv3 = conv3d(width, outputs=outputs, kernel=one)
        self.norm3 = nn.BatchNorm3d(outputs)
        changes = stride > 1 or channels != outputs
        strides = (stride, stride, stride)
        self.shortcut = ConvNorm3d(channels, outputs=outputs, kernel=one, stride=strides) if changes else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps; the class docstring gives the shapes."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        if self.mix is not None:
            y = self.mix(y)
        y = F.relu(self.norm2(self.conv2(y)), inplace=True)
        y = self.norm3(self.conv3(y))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)), inplace=True)


class CSNNetwork(ClipNetwork):
    """Channel-separated network, built from the settings in a recipe."""

    memory_format = torch.contiguous_format  # depthwise convolutions train slowly in channels-last-3d
    optimized_format = torch.channels_last_3d  # `optimize` has a kernel for them

    def __init__(self, model: CSN, *, classes: int, input_spec: InputSpec) -> None:
        width = model.width
        super().__init__(model, features=32 * width, classes=classes, input_spec=input_spec)
        self.head_window = model.head_window
        self.averages_windows = bool(model.head_window)
        self.stem = Stem3d(width=width, taps=3)
        channels = width
        for number, count in enumerate(model.blocks):
            blocks = []
            for block in range(count):
                inner, stride = width * 2**number, 2 if number and not block else 1
                mixes = model.interaction == "preserved"
                blocks.append(CSNBlock(channels, width=inner, stride=stride, mixes=mixes))
                channels = 4 * inner
            self.add_module(f"res{number + 2}", nn.Sequential(*blocks))
        set_norms(self, eps=model.norm_eps)
        initialize(self)

    def windows(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the features of each window: [B, T, 3, H, W] → [B, P, F]."""
        x = pool_stem(self.stem(to_maps(clips)))
        x = self.run_stages(x)
        return average_windows(x, self.head_window)

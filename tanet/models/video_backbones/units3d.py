"""Convolutions with their BatchNorms, from which several 3D networks are built."""

import torch
from torch import nn
from torch.nn import functional as F

from tanet.models.video_backbones.clip_network import conv3d


class ConvNorm3d(nn.Module):
    """3D convolution and BatchNorm: [B, channels, T, H, W] → [B, outputs, T/stride, H/stride, W/stride].

    Args:
        channels: channels of the input.
        outputs: channels of the output.
        kernel: T × H × W of the kernel.
        stride: strides over T, H and W.
    """

    def __init__(
        self,
        channels: int,
        *,
        outputs: int,
        kernel: tuple[int, int, int],
        stride: tuple[int, int, int] = (1, 1, 1),
    ) -> None:
        super().__init__()
        self.conv = conv3d(channels, outputs=outputs, kernel=kernel, stride=stride)
        self.norm = nn.BatchNorm3d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps; the class docstring gives the shapes."""
        return self.norm(self.conv(x))


class FactoredConv3d(nn.Module):
    """1×k×k → BatchNorm → ReLU → taps×1×1 → BatchNorm, in the place of a 3D convolution.

    Args:
        channels: channels of the input.
        middle: channels between the two convolutions.
        outputs: channels of the output.
        kernel: k, side of the spatial kernel.
        taps: number of temporal taps.
        stride: stride over H and W.
        time_stride: stride over T; None for `stride`.
    """

    def __init__(
        self,
        channels: int,
        *,
        middle: int,
        outputs: int,
        kernel: int = 3,
        taps: int = 3,
        stride: int = 1,
        time_stride: int | None = None,
    ) -> None:
        super().__init__()
        steps = stride if time_stride is None else time_stride
        self.space = conv3d(channels, outputs=middle, kernel=(1, kernel, kernel), stride=(1, stride, stride))
        self.norm_space = nn.BatchNorm3d(middle)
        self.time = conv3d(middle, outputs=outputs, kernel=(taps, 1, 1), stride=(steps, 1, 1))
        self.norm = nn.BatchNorm3d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps [B, C, T, H, W]."""
        return self.norm(self.time(F.relu(self.norm_space(self.space(x)), inplace=True)))


def set_norms(network: nn.Module, *, eps: float, momentum: float = 0.1) -> None:
    """Set the variance offset and the momentum of all 3D BatchNorms of a network."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.eps, module.momentum = eps, momentum

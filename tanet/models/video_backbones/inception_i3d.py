"""I3D with an Inception network: clips [B, T, 3, H, W] → logits [B, classes]. T can be any number.

Carreira and Zisserman, "Quo vadis, action recognition? A new model and the Kinetics dataset", CVPR 2017. All
kernels of InceptionV1 are inflated to three dimensions. Layers have the names of the authors' code.

Convolutions and pools have the padding that TensorFlow calls "SAME". For a size s, kernel k and stride r, the
total is max(k - r, 0) if r divides s, else max(k - s mod r, 0), and the smaller half comes first. So the
stem sees other pixels than with symmetric padding. The classifier is applied to averages over 2×7×7 places,
and the logits are averaged over time and, with larger frames, over space.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from tanet.models.video_backbones.clip_network import pool_windows
from tanet.models.video_backbones.inception3d import FEATURES, MIXED, Inception3D, Mixed, Size
from tanet.recipes.input_spec import InputSpec
from tanet.recipes.networks3d import InceptionI3D

WINDOW = (2, 7, 7)  # T, H, W of the averages before the classifier


def pad_same(x: torch.Tensor, *, kernel: Size, stride: Size) -> torch.Tensor:
    """Pad maps [B, C, T, H, W] with zeros as TensorFlow's "SAME" does."""
    sides: list[int] = []  # F.pad starts with the last dimension
    for size, k, r in reversed(list(zip(x.shape[2:], kernel, stride, strict=True))):
        total = max(k - r, 0) if size % r == 0 else max(k - size % r, 0)
        sides += [total // 2, total - total // 2]
    return F.pad(x, sides) if any(sides) else x


def max_pool(x: torch.Tensor, *, kernel: Size, stride: Size) -> torch.Tensor:
    """Pool with SAME padding. Zeros may stand for -∞, because all maps are outputs of a ReLU."""
    return F.max_pool3d(pad_same(x, kernel=kernel, stride=stride), kernel, stride)


class Unit3d(nn.Module):
    """Convolution with SAME padding, BatchNorm and ReLU."""

    def __init__(self, channels: int, *, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        # With stride 1, SAME padding is symmetric.
        padding = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv3d(channels, outputs, kernel, stride, padding, bias=False)
        self.norm = nn.BatchNorm3d(outputs, eps=1e-3, momentum=InceptionI3D.norm_momentum)
        self.kernel: Size = (kernel, kernel, kernel)
        self.stride: Size = (stride, stride, stride)
        fan_in = channels * kernel**3
        nn.init.trunc_normal_(self.conv.weight, std=1 / math.sqrt(fan_in))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps [B, C, T, H, W]."""
        if max(self.stride) > 1:
            x = pad_same(x, kernel=self.kernel, stride=self.stride)
        return F.relu(self.norm(self.conv(x)), inplace=True)


def _unit(channels: int, outputs: int, kernel: int, _: bool = False) -> Unit3d:
    return Unit3d(channels, outputs=outputs, kernel=kernel)


class InceptionI3DNetwork(Inception3D):
    """I3D with an Inception network, built from the settings in a recipe."""

    optimized_format = torch.contiguous_format
    averages_windows = True

    def __init__(self, model: InceptionI3D, *, classes: int, input_spec: InputSpec) -> None:
        super().__init__(model, features=FEATURES, classes=classes, input_spec=input_spec)
        self.Conv3d_1a_7x7 = Unit3d(model.channels, outputs=64, kernel=7, stride=2)
        self.Conv3d_2b_1x1 = _unit(64, 64, 1)
        self.Conv3d_2c_3x3 = _unit(64, 192, 3)
        for name, channels, outputs in MIXED:
            self.add_module(name, Mixed(channels, outputs, make=_unit))

    def pool(self, x: torch.Tensor, *, kernel: Size, stride: Size) -> torch.Tensor:
        """Pool with SAME padding; see `max_pool`."""
        return max_pool(x, kernel=kernel, stride=stride)

    def average_map(self, x: torch.Tensor) -> torch.Tensor:
        """Average the last map over windows of 2×7×7; see `Inception3D`."""
        frames, height, width = (min(most, size) for most, size in zip(WINDOW, x.shape[2:], strict=True))
        return pool_windows(x, (frames, height, width))

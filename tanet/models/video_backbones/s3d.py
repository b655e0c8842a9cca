"""S3D and S3D-G: clips [B, T, 3, H, W] → logits [B, classes]. T can be any number.

Xie et al., "Rethinking Spatiotemporal Feature Learning: Speed-Accuracy Trade-offs in Video Classification",
ECCV 2018. S3D is I3D with Inception whose k×k×k kernels are separated:

    1×k×k → BN → ReLU → k×1×1 → BN → ReLU,    with as many channels between as at the end

S3D-G has 37 gates, y = σ(W · mean(x)) ⊙ x with the mean over T, H and W: one after Conv3d_2c_3x3, and one at
the end of each branch of the Inception blocks. These are the places in the authors' code. The paper's text
places gates after each temporal convolution. Neither gives the number of parameters in the paper.

Padding is symmetric, as in PyTorch's public code of S3D; the authors' TensorFlow code pads as I3D does.
"""

import torch
from torch import nn
from torch.nn import functional as F

from tanet.models.video_backbones.clip_network import pool_windows
from tanet.models.video_backbones.inception3d import FEATURES, MIXED, Inception3D, Mixed, Size
from tanet.models.video_backbones.units3d import ConvNorm3d, FactoredConv3d, set_norms
from tanet.recipes.input_spec import InputSpec
from tanet.recipes.networks3d_factored import S3D

WINDOWS = {"2x7x7": (2, 7, 7), "2": (2, None, None), "all": (None, None, None)}
"""head_window → T, H, W of the averages before the classifier; None for the whole map."""


class Gate(nn.Module):
    """Weights channels by their means: [B, C, T, H, W] → [B, C, T, H, W]."""

    def __init__(self, channels: int, *, bias: bool) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, channels, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weight the channels of feature maps [B, C, T, H, W]."""
        return x * self.fc(x.mean((2, 3, 4))).sigmoid()[:, :, None, None, None]


class CellStem(nn.Module):
    """Convolution on cells of 2×2×2 pixels: [B, 3, T, H, W] → [B, 64, T/2, H/2, W/2].

    A kernel of 2×4×4 cells covers 4×8×8 pixels. Each of the 24 channels is one pixel and colour of a cell:
    ((t · 2 + y) · 2 + x) · 3 + colour.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(24, 64, (2, 4, 4), padding=(1, 2, 2), bias=False)
        self.norm = nn.BatchNorm3d(64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform clips; the class docstring gives the shapes."""
        cells = x.unflatten(4, (-1, 2)).unflatten(3, (-1, 2)).unflatten(2, (-1, 2))  # B C T t H y W x
        cells = cells.permute(0, 3, 5, 7, 1, 2, 4, 6).flatten(1, 4)
        # The padding adds a plane at both ends of each dimension, and the even kernel leaves one too many.
        return self.norm(self.conv(cells))[:, :, 1:, 1:, 1:]


class Unit(nn.Module):
    """Convolution with BatchNorms, then ReLU, then a gate if there is one."""

    def __init__(self, layers: nn.Module, gate: Gate | None = None) -> None:
        super().__init__()
        self.layers, self.gate = layers, gate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps [B, C, T, H, W]."""
        x = F.relu(self.layers(x), inplace=True)
        return x if self.gate is None else self.gate(x)


def _separated(channels: int, outputs: int, kernel: int) -> nn.Module:
    """Return a convolution with stride 1, in which a kernel larger than 1 is separated."""
    if kernel == 1:
        return ConvNorm3d(channels, outputs=outputs, kernel=(1, 1, 1))
    return FactoredConv3d(channels, middle=outputs, outputs=outputs, kernel=kernel, taps=kernel)


def _stem(kind: str) -> nn.Module:
    if kind == "cells":
        return CellStem()
    if kind == "3x7x7":
        return ConvNorm3d(3, outputs=64, kernel=(3, 7, 7), stride=(2, 2, 2))
    return FactoredConv3d(3, middle=64, outputs=64, kernel=7, taps=7, stride=2)


class S3DNetwork(Inception3D):
    """S3D or S3D-G, built from the settings in a recipe."""

    optimized_format = torch.contiguous_format

    def __init__(self, model: S3D, *, classes: int, input_spec: InputSpec) -> None:
        super().__init__(model, features=FEATURES, classes=classes, input_spec=input_spec)
        self.stem_kind, self.pool_padding, self.head_window = (
            model.stem,
            model.pool_padding,
            model.head_window,
        )
        self.averages_windows = model.head_window == "2x7x7"

        def unit(channels: int, outputs: int, kernel: int, gated: bool) -> Unit:
            layers = _separated(channels, outputs, kernel)
            has_gate = gated and model.gates != "none"
            return Unit(layers, Gate(outputs, bias=model.gates == "bias") if has_gate else None)

        self.Conv3d_1a_7x7 = Unit(_stem(model.stem))
        self.Conv3d_2b_1x1 = unit(64, 64, 1, False)
        self.Conv3d_2c_3x3 = unit(64, 192, 3, True)
        for name, channels, outputs in MIXED:
            self.add_module(name, Mixed(channels, outputs, make=unit))
        set_norms(self, eps=model.norm_eps, momentum=model.norm_momentum)
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.01)  # as in the authors' code

    def check_clips(self, clips: torch.Tensor) -> None:
        """Raise ValueError unless the clips have a shape that the network takes."""
        super().check_clips(clips)
        if self.stem_kind == "cells" and any(clips.shape[n] % 2 for n in (1, 3, 4)):
            frames, height, width = clips.shape[1], *clips.shape[3:]
            raise ValueError(
                "model.stem cells needs even numbers of frames and pixels, not clips of "
                f"{frames} × {height} × {width}"
            )

    def pool(self, x: torch.Tensor, *, kernel: Size, stride: Size) -> torch.Tensor:
        """Apply a max pooling. Zeros may stand for -∞, because all maps are positive."""
        if self.pool_padding == "both":
            return F.max_pool3d(x, kernel, stride, tuple(side // 2 if side % 2 else 0 for side in kernel))
        ends = [side for k, r in zip(reversed(kernel), reversed(stride), strict=True) for side in (0, k - r)]
        return F.max_pool3d(F.pad(x, ends), kernel, stride, ceil_mode=True)

    def average_map(self, x: torch.Tensor) -> torch.Tensor:
        """Average the last map over windows; see `S3D.head_window`."""
        most = WINDOWS[self.head_window]
        frames, height, width = (
            side if limit is None else min(limit, side) for limit, side in zip(most, x.shape[2:], strict=True)
        )
        return pool_windows(x, (frames, height, width))

"""3D ResNets with one pathway: clips [B, T, 3, H, W] → logits [B, classes].

    block    kt×1×1 → BN → ReLU [→ TAM] → 1×3×3 → BN → ReLU → 1×1×1 → BN, + shortcut, → ReLU [→ non-local]

The temporal kernels kt, the strides over time and the non-local blocks make the networks of the papers:

    C2D, I3D, NL I3D    Wang et al., "Non-local Neural Networks", CVPR 2018
    SlowOnly            Feichtenhofer et al., "SlowFast Networks for Video Recognition", ICCV 2019

The stride of a stage is in the 1×3×3 convolution of its first block.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from tanet.errors import UserError
from tanet.models.video_backbones.clip_network import (
    ClipNetwork,
    average_windows,
    conv3d,
    initialize,
    to_maps,
)
from tanet.models.video_backbones.non_local3d import NonLocal3d
from tanet.models.video_backbones.tam3d import MakeTAM, tam_maker
from tanet.recipes.input_spec import InputSpec
from tanet.recipes.networks3d import ResNet3D, SlowFast, SomeBlocks


class Shortcut(nn.Module):
    """1×1×1 convolution with BatchNorm that gives the shortcut the residual's shape."""

    def __init__(self, channels: int, *, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = conv3d(channels, outputs=outputs, kernel=(1, 1, 1), stride=(1, stride, stride))
        self.norm = nn.BatchNorm3d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps [B, C, T, H, W]."""
        return self.norm(self.conv(x))


class Block3d(nn.Module):
    """Bottleneck block: [B, channels, T, H, W] → [B, 4·width, T, H/stride, W/stride].

    Args:
        channels: channels of the input.
        width: channels inside the block.
        stride: spatial stride.
        sees_time: whether the block sees neighbouring frames.
        make_tam: makes the TAM that replaces the temporal convolution, from its channels; None for no TAM.
    """

    def __init__(
        self, channels: int, *, width: int, stride: int, sees_time: bool, make_tam: MakeTAM | None
    ) -> None:
        super().__init__()
        outputs, taps = 4 * width, 3 if sees_time and not make_tam else 1
        self.conv1 = conv3d(channels, outputs=width, kernel=(taps, 1, 1))
        self.norm1 = nn.BatchNorm3d(width)
        self.temporal = make_tam(width) if sees_time and make_tam else None
        self.conv2 = conv3d(width, outputs=width, kernel=(1, 3, 3), stride=(1, stride, stride))
        self.norm2 = nn.BatchNorm3d(width)
        self.conv3 = conv3d(width, outputs=outputs, kernel=(1, 1, 1))
        self.norm3 = nn.BatchNorm3d(outputs)
        changes = stride > 1 or channels != outputs
        self.shortcut = Shortcut(channels, outputs=outputs, stride=stride) if changes else None
        self.non_local: NonLocal3d | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps; the class docstring gives the shapes."""
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        if self.temporal is not None:
            y = self.temporal(y)
        y = F.relu(self.norm2(self.conv2(y)), inplace=True)
        y = self.norm3(self.conv3(y))
        y = F.relu(y + (x if self.shortcut is None else self.shortcut(x)), inplace=True)
        return y if self.non_local is None else self.non_local(y)


class Stem3d(nn.Module):
    """First convolution with BatchNorm and ReLU: [B, 3, T, H, W] → [B, width, T/stride, H/2, W/2]."""

    def __init__(self, *, width: int, taps: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = conv3d(3, outputs=width, kernel=(taps, 7, 7), stride=(stride, 2, 2))
        self.norm = nn.BatchNorm3d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform clips; the class docstring gives the shapes."""
        return F.relu(self.norm(self.conv(x)), inplace=True)


def make_stage(
    channels: int,
    *,
    width: int,
    sees_time: Sequence[bool],
    stride: int,
    make_tam: MakeTAM | None,
) -> nn.Sequential:
    """Build the blocks of a stage. `sees_time` says for each block whether it sees neighbouring frames."""
    blocks = []
    for number, sees in enumerate(sees_time):
        blocks.append(
            Block3d(
                channels,
                width=width,
                stride=stride if number == 0 else 1,
                sees_time=sees,
                make_tam=make_tam,
            )
        )
        channels = 4 * width
    return nn.Sequential(*blocks)


def add_non_local(pathway: nn.Module, model: ResNet3D | SlowFast) -> None:
    """Add non-local blocks to the blocks of a pathway that are named in `model.non_local`, in place."""
    for name in model.non_local:
        block = pathway.get_submodule(name)
        assert isinstance(block, Block3d)
        channels = block.conv3.out_channels
        block.non_local = NonLocal3d(channels, attention=model.attention, style=model.attention_style)


def initialize_blocks(network: nn.Module) -> None:
    """Draw the weights of the convolutions, and let each block start as its shortcut."""
    initialize(network)
    for module in network.modules():
        if isinstance(module, Block3d):
            nn.init.zeros_(module.norm3.weight)
        if isinstance(module, NonLocal3d):
            for conv in (module.theta, module.phi, module.g, module.out):
                nn.init.normal_(conv.weight, std=0.01)


class ResNet3DNetwork(ClipNetwork):
    """3D ResNet with one pathway, built from the settings in a recipe."""

    def __init__(self, model: ResNet3D, *, classes: int, input_spec: InputSpec) -> None:
        width = model.width
        super().__init__(model, features=32 * width, classes=classes, input_spec=input_spec)
        self.pool1, self.pool2, self.head_window = model.pool1, model.pool2, model.head_window
        self.averages_windows = bool(model.head_window)
        self.stem = Stem3d(width=width, taps=model.stem_kernel, stride=model.stem_stride)
        frames = frames_in_stages(model)
        self.res2, self.res3, self.res4, self.res5 = (
            make_stage(
                4 * width * 2 ** (number - 1) if number else width,
                width=width * 2**number,
                sees_time=temporal_pattern(model.temporal_blocks[number], model.blocks[number]),
                stride=(1, 2, 2, model.res5_stride)[number],
                make_tam=tam_maker(model, frames=frames[number]),
            )
            for number in range(4)
        )
        add_non_local(self, model)
        initialize_blocks(self)

    def windows(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the features of each window: [B, T, 3, H, W] → [B, P, F]."""
        return average_windows(self.maps(clips), self.head_window)

    def maps(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the last feature maps: [B, T, 3, H, W] → [B, F, T', H', W']."""
        x = pool_stem(self.stem(to_maps(clips)), self.pool1)
        x = self.res2(x)
        if self.pool2 == "2x1x1":
            x = F.max_pool3d(x, (2, 1, 1))
        elif self.pool2 == "3x1x1":
            x = F.max_pool3d(x, (3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0))
        return self.res5(self.res4(self.res3(x)))


def pool_stem(x: torch.Tensor, kind: str = "space") -> torch.Tensor:
    """Apply the max pooling after a stem. `ResNet3D.pool1` explains the kinds."""
    if kind == "unpadded":
        return F.max_pool3d(x, (2, 3, 3), stride=2)
    frames = 2 if kind == "skip" else 1
    return F.max_pool3d(x, (1, 3, 3), stride=(frames, 2, 2), padding=(0, 1, 1))


def frames_in_stages(model: ResNet3D) -> tuple[int, int, int, int]:
    """Return the number of frames in res2, res3, res4 and res5.

    Raises:
        UserError: strides leave no frame.
    """
    frames = -(-model.frames // model.stem_stride)
    if model.pool1 != "space":
        frames = frames // 2 if model.pool1 == "unpadded" else -(-frames // 2)
    later = {"none": frames, "2x1x1": frames // 2, "3x1x1": -(-frames // 2)}[model.pool2]
    if later < 1:
        raise UserError(f"model.frames {model.frames} are too few for this network's strides over time")
    return frames, later, later, later


def temporal_pattern(which: SomeBlocks, count: int) -> list[bool]:
    """Return for each of `count` blocks of a stage whether it sees several frames."""
    chosen = {"all": range(count), "even": range(0, count, 2), "odd": range(1, count, 2), "none": range(0)}
    return [block in chosen[which] for block in range(count)]

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

from tanet.models.video_backbones.clip_network import ClipNetwork, pool_windows, to_maps
from tanet.recipes.input_spec import InputSpec
from tanet.recipes.networks3d import InceptionI3D

Size = tuple[int, int, int]  # T, H, W
# Name, input channels; outputs of branch 0, of both convolutions of branches 1 and 2, and of branch 3.
MIXED: tuple[tuple[str, int, tuple[int, int, int, int, int, int]], ...] = (
    ("Mixed_3b", 192, (64, 96, 128, 16, 32, 32)),
    ("Mixed_3c", 256, (128, 128, 192, 32, 96, 64)),
    ("Mixed_4b", 480, (192, 96, 208, 16, 48, 64)),
    ("Mixed_4c", 512, (160, 112, 224, 24, 64, 64)),
    ("Mixed_4d", 512, (128, 128, 256, 24, 64, 64)),
    ("Mixed_4e", 512, (112, 144, 288, 32, 64, 64)),
    ("Mixed_4f", 528, (256, 160, 320, 32, 128, 128)),
    ("Mixed_5b", 832, (256, 160, 320, 32, 128, 128)),
    ("Mixed_5c", 832, (384, 192, 384, 48, 128, 128)),
)
POOLS: dict[str, tuple[Size, Size]] = {  # before these blocks: kernel, stride
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}
FEATURES = 1024
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
    if max(stride) == 1:
        return F.max_pool3d(x, kernel, stride, tuple(k // 2 for k in kernel))  # symmetric
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


class Mixed(nn.Module):
    """Inception block with four branches, whose outputs are concatenated."""

    def __init__(self, channels: int, outputs: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3 = outputs
        self.b0 = Unit3d(channels, outputs=b0, kernel=1)
        self.b1a = Unit3d(channels, outputs=b1a, kernel=1)
        self.b1b = Unit3d(b1a, outputs=b1b, kernel=3)
        self.b2a = Unit3d(channels, outputs=b2a, kernel=1)
        self.b2b = Unit3d(b2a, outputs=b2b, kernel=3)
        self.b3b = Unit3d(channels, outputs=b3, kernel=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps [B, C, T, H, W]."""
        pooled = max_pool(x, kernel=(3, 3, 3), stride=(1, 1, 1))
        branches = (self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled))
        return torch.cat(branches, 1)


class InceptionI3DNetwork(ClipNetwork):
    """I3D with an Inception network, built from the settings in a recipe."""

    average = "logits"
    optimized_format = torch.contiguous_format

    def __init__(self, model: InceptionI3D, *, classes: int, input_spec: InputSpec) -> None:
        super().__init__(
            features=FEATURES,
            frames=model.frames,
            classes=classes,
            dropout=model.dropout,
            input_spec=input_spec,
        )
        self.Conv3d_1a_7x7 = Unit3d(3, outputs=64, kernel=7, stride=2)
        self.Conv3d_2b_1x1 = Unit3d(64, outputs=64, kernel=1)
        self.Conv3d_2c_3x3 = Unit3d(64, outputs=192, kernel=3)
        for name, channels, outputs in MIXED:
            self.add_module(name, Mixed(channels, outputs))

    def check_clips(self, clips: torch.Tensor) -> None:
        """Raise ValueError unless the clips have the shape [B, T, 3, H, W]. T can be any number."""
        if clips.ndim != 5:
            raise ValueError(f"expected clips [B, T, 3, H, W], not {list(clips.shape)}")

    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the stages and the names of their modules; see `Network`."""
        names = [name for name, _, _ in MIXED]
        mixed = {f"res{n}": tuple(name for name in names if name[6] == str(n)) for n in (3, 4, 5)}
        return {"stem": ("Conv3d_1a_7x7",), "res2": ("Conv3d_2b_1x1", "Conv3d_2c_3x3"), **mixed}

    def windows(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the features of each window: [B, T, 3, H, W] → [B, P, F]."""
        x = self.Conv3d_1a_7x7(to_maps(clips))
        x = max_pool(x, kernel=(1, 3, 3), stride=(1, 2, 2))
        x = self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x))
        for name, _, _ in MIXED:
            if name in POOLS:
                kernel, stride = POOLS[name]
                x = max_pool(x, kernel=kernel, stride=stride)
            x = self.get_submodule(name)(x)
        frames, height, width = (min(most, size) for most, size in zip(WINDOW, x.shape[2:], strict=True))
        return pool_windows(x, (frames, height, width))

"""Inception networks for clips: the layers that I3D and S3D share.

Layers have the names of I3D's code. The networks differ in their convolutions and in the padding of pools.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from tanet.models.video_backbones.clip_network import ClipNetwork, to_maps

Size = tuple[int, int, int]  # T, H, W
Make = Callable[[int, int, int, bool], nn.Module]
"""(input channels, output channels, kernel, whether a branch ends here) → convolution, BatchNorm and ReLU."""
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
POOLS: dict[str, tuple[Size, Size]] = {  # before these layers: kernel, stride
    "Conv3d_2b_1x1": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}
FEATURES = 1024
BODY = ("Conv3d_2b_1x1", "Conv3d_2c_3x3", *(name for name, _, _ in MIXED))


class Mixed(nn.Module):
    """Inception block with four branches, whose outputs are concatenated.

    Args:
        channels: channels of the input.
        outputs: channels of the convolutions, as in `MIXED`.
        make: function that builds a convolution with its BatchNorm and ReLU.
    """

    def __init__(
        self,
        channels: int,
        outputs: tuple[int, int, int, int, int, int],
        *,
        make: Make,
    ) -> None:
        super().__init__()
        b0, b1a, b1b, b2a, b2b, b3 = outputs
        self.b0 = make(channels, b0, 1, True)
        self.b1a = make(channels, b1a, 1, False)
        self.b1b = make(b1a, b1b, 3, True)
        self.b2a = make(channels, b2a, 1, False)
        self.b2b = make(b2a, b2b, 3, True)
        self.b3b = make(channels, b3, 1, True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps [B, C, T, H, W]."""
        pooled = F.max_pool3d(x, 3, 1, 1)
        branches = (self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(pooled))
        return torch.cat(branches, 1)


class Inception3D(ClipNetwork):
    """Base class of I3D and S3D. Subclasses add the layers in order and define `pool` and `average_map`."""

    average = "logits"

    def check_clips(self, clips: torch.Tensor) -> None:
        """Raise ValueError unless the clips have the shape [B, T, C, H, W]. T can be any number."""
        if clips.ndim != 5 or clips.shape[2] != self.channels:
            raise ValueError(f"expected clips [B, T, {self.channels}, H, W], not {list(clips.shape)}")

    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the stages and the names of their modules; see `Network`."""
        mixed = {f"res{n}": tuple(name for name, _, _ in MIXED if name[6] == str(n)) for n in (3, 4, 5)}
        return {"stem": ("Conv3d_1a_7x7",), "res2": BODY[:2], **mixed}

    def pool(self, x: torch.Tensor, *, kernel: Size, stride: Size) -> torch.Tensor:
        """Apply a max pooling with a stride."""
        raise NotImplementedError

    def average_map(self, x: torch.Tensor) -> torch.Tensor:
        """Average the last map over windows: [B, F, T, H, W] → [B, P, F]."""
        raise NotImplementedError

    def windows(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the features of each window: [B, T, 3, H, W] → [B, P, F]."""
        x = self.get_submodule("Conv3d_1a_7x7")(to_maps(clips))
        for name in BODY:
            if name in POOLS:
                kernel, stride = POOLS[name]
                x = self.pool(x, kernel=kernel, stride=stride)
            x = self.get_submodule(name)(x)
        return self.average_map(x)

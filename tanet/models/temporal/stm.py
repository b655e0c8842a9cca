"""STM: spatio-temporal and motion features in the place of a block's 3×3 convolution.

    CSTM:  S = W ∗ BN(Σ_k w[c, k] · X[n, t + k - 1, c])                    W: the block's 3×3 convolution
    CMM:   R = BN(W_r X),   M[t] = K ∗ R[t + 1] - R[t],   M[T - 1] = 0     K: depthwise 3×3
    Y = S + BN(W_e M)                                  W_r, W_e: 1×1 convolutions to C/16 channels and back

Jiang et al., "STM: SpatioTemporal and Motion Encoding for Action Recognition", ICCV 2019. w starts as a
shift: 1/4 of the channels come from the previous frame, 1/4 from the next. No code was published, and the
paper does not say where BatchNorms are. Here they are where the formula has them, and the block's own
BatchNorm and ReLU follow Y. ResNet-50 then has 24.05 M parameters for 174 classes. The scale of the
BatchNorm after W_e starts at zero.
"""

import torch
from torch import nn

from tanet.models.temporal.clip_module import ClipModule
from tanet.ops import adaptive_conv, as_clips


class SpatioTemporal(ClipModule):
    """Depthwise temporal convolution and BatchNorm of CSTM, [N·T, C, H, W] → [N·T, C, H, W].

    Args:
        channels: C.
        frames: T, frames per clip.
    """

    taps = 3
    """Multiply-adds per output element."""

    def __init__(self, channels: int, *, frames: int) -> None:
        super().__init__(frames=frames)
        weight = torch.tensor([0.0, 1.0, 0.0]).repeat(channels, 1)  # [C, 3]
        part = channels // 4
        weight[:part] = torch.tensor([1.0, 0.0, 0.0])  # from the previous frame
        weight[channels - part :] = torch.tensor([0.0, 0.0, 1.0])  # from the next frame
        self.weight = nn.Parameter(weight)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips; the class docstring gives the shapes."""
        kernel = self.weight.expand(as_clips(x, self.frames).shape[0], -1, -1)  # [N, C, 3]
        return self.norm(adaptive_conv(x, kernel))


class Motion(ClipModule):
    """Differences of neighbouring frames (CMM), [N·T, C, H, W] → [N·T, outputs, H/s, W/s].

    Args:
        channels: C.
        outputs: channels of the output.
        stride: s.
        frames: T, frames per clip.
        reduction: differences are taken of C / reduction channels.
    """

    def __init__(self, channels: int, *, outputs: int, stride: int, frames: int, reduction: int = 16) -> None:
        super().__init__(frames=frames)
        narrow = max(1, channels // reduction)
        self.reduce = nn.Conv2d(channels, narrow, 1, bias=False)
        self.norm = nn.BatchNorm2d(narrow)
        self.next = nn.Conv2d(narrow, narrow, 3, padding=1, groups=narrow, bias=False)
        self.expand = nn.Conv2d(narrow, outputs, 1, stride, bias=False)
        self.norm_out = nn.BatchNorm2d(outputs)
        nn.init.zeros_(self.norm_out.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compare each frame with the next; the class docstring gives the shapes."""
        now = self.norm(self.reduce(x))
        later = as_clips(self.next(now), self.frames)[:, 1:]  # [N, T - 1, C/16, H, W]
        moved = later - as_clips(now, self.frames)[:, :-1]
        last = torch.zeros_like(as_clips(now, self.frames)[:, :1])
        return self.norm_out(self.expand(torch.cat((moved, last), 1).flatten(0, 1)))


class STM(ClipModule):
    """STM's convolution, [N·T, C, H, W] → [N·T, outputs, H/s, W/s].

    Args:
        conv: the 3×3 convolution whose place is taken. It becomes W.
        frames: T, frames per clip.
    """

    def __init__(self, conv: nn.Conv2d, *, frames: int) -> None:
        super().__init__(frames=frames)
        channels, outputs, stride = conv.in_channels, conv.out_channels, conv.stride[0]
        self.space = conv
        self.temporal = nn.ModuleDict(
            {
                "shift": SpatioTemporal(channels, frames=frames),
                "motion": Motion(channels, outputs=outputs, stride=stride, frames=frames),
            }
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips; the class docstring gives the shapes."""
        return self.space(self.temporal["shift"](x)) + self.temporal["motion"](x)

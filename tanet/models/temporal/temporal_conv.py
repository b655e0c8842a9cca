"""Three modules that mix neighbouring frames with weights that do not depend on the clip.

    C2D-Pool     Y[t] = mean of X[t-1], X[t], X[t+1]
    C2D-TConv    Y[t] = Σ_k W_k X[t + k - K//2],  W_k dense, C → C
    I3D 3×1×1    Y[t] = Σ_k W_k ∗ X[t + k - K//2],  W replaces a block's first convolution

K is the number of taps, 3 by default. Frames outside the clip are zero. Table 2 of TAM's paper compares TAM
with these modules. C2D-Pool and C2D-TConv are inserted at the same places as TAM. I3D (Carreira and
Zisserman, CVPR 2017) is built as in Wang et al., Non-local Neural Networks, CVPR 2018.
"""

import torch
from torch import nn

from tanet.errors import UserError
from tanet.models.temporal.clip_module import ClipModule
from tanet.ops import adaptive_conv, as_clips, shift_sum


class TemporalPool(ClipModule):
    """Mean over K neighbouring frames, [N·T, C, H, W] → [N·T, C, H, W]; no parameters.

    Frames beyond the ends of a clip count as zeros, as in a pooling layer with padding.

    Args:
        frames: T, frames per clip.
        kernel: K, number of taps; odd.
    """

    def __init__(self, *, frames: int, kernel: int = 3) -> None:
        super().__init__(frames=frames)
        _check_taps(kernel)
        self.kernel = kernel

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips; the class docstring gives the shapes."""
        shape = (as_clips(x, self.frames).shape[0], x.shape[1], self.kernel)
        return adaptive_conv(x, x.new_full((1, 1, 1), 1 / self.kernel).expand(shape))

    def extra_repr(self) -> str:
        """Show T and the settings when the network is printed."""
        return f"{super().extra_repr()}, kernel={self.kernel}"


class TemporalConv(ClipModule):
    """Dense K×1×1 convolution over time, without a bias, [N·T, C, H, W] → [N·T, C, H, W].

    The convolution is initialised as the identity. (The paper does not describe the initialisation. Random
    weights would distort the features that the later layers, which have ImageNet weights, expect as input.)

    Args:
        channels: C.
        frames: T, frames per clip.
        kernel: K, number of taps; odd.
    """

    def __init__(self, channels: int, *, frames: int, kernel: int = 3) -> None:
        super().__init__(frames=frames)
        _check_taps(kernel)
        # Use a Conv2d over [T, H·W] instead of a Conv3d: torch.channels_last does not apply to 5D weights.
        self.conv = nn.Conv2d(channels, channels, (kernel, 1), padding=(kernel // 2, 0), bias=False)
        nn.init.dirac_(self.conv.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips; the class docstring gives the shapes."""
        y = self.conv(as_clips(x, self.frames).transpose(1, 2).flatten(3))  # [N, C, T, H·W]
        return y.unflatten(3, x.shape[2:]).transpose(1, 2).flatten(0, 1)


class SideTaps(ClipModule):
    """Side taps of an inflated 2D convolution, which read other frames: [N·T, C, H, W] → [N·T, C', H', W'].

    Inflating a 2D convolution gives it K taps along time. The 2D convolution itself is the middle tap, so its
    weight keeps its name. This module computes the other taps (the side taps). Its output is added to the
    output of the 2D convolution. The side taps are initialised to zero, so I3D starts as the 2D network.

    Args:
        conv: the 2D convolution, C → C', with groups=1.
        frames: T, frames per clip.
        kernel: K, number of taps; odd.
    """

    def __init__(self, conv: nn.Conv2d, *, frames: int, kernel: int = 3) -> None:
        super().__init__(frames=frames)
        _check_taps(kernel)
        if kernel == 1:
            raise UserError("an inflated convolution needs at least 3 taps, not 1")
        if conv.groups != 1 or isinstance(conv.padding, str):
            raise UserError("only a convolution with groups=1 and numeric padding can be inflated")
        self.ahead = tuple(k - kernel // 2 for k in range(kernel) if k != kernel // 2)
        self.taps_conv = nn.Conv2d(
            conv.in_channels,
            conv.out_channels * len(self.ahead),
            conv.kernel_size,  # type: ignore[arg-type]
            stride=conv.stride,  # type: ignore[arg-type]
            padding=conv.padding,  # type: ignore[arg-type]
            dilation=conv.dilation,  # type: ignore[arg-type]
            bias=False,
        )
        nn.init.zeros_(self.taps_conv.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips; the class docstring gives the shapes."""
        taps = self.taps_conv(x).unflatten(1, (len(self.ahead), -1))  # [N·T, K-1, C', H', W']
        return shift_sum(taps, self.ahead, frames=self.frames)


def _check_taps(kernel: int) -> None:
    if kernel < 1 or kernel % 2 == 0:
        raise UserError(f"kernel must be odd, not {kernel}")

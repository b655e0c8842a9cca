"""Fixed ways to mix neighbouring frames: mean, dense convolution, inflated convolution.

    C2D-Pool     Y[t] = mean of X[t-1], X[t], X[t+1]
    C2D-TConv    Y[t] = Σ_k W_k X[t + k - K//2],  W_k dense, C → C
    I3D 3×1×1    Y[t] = Σ_k W_k ∗ X[t + k - K//2],  W in the place of a block's first convolution

K = 3 taps; zero outside the clip. Rivals of TAM in the paper's Table 2. The first two stand where TAM stands;
I3D is that of Carreira and Zisserman (CVPR 2017) as Wang et al. build it (Non-local Neural Networks, CVPR
2018).
"""

import torch
from torch import nn

from tanet.errors import UserError
from tanet.models.temporal.clip_module import ClipModule
from tanet.ops import adaptive_conv, as_clips, shift_sum


class TemporalPool(ClipModule):
    """Mean over K neighbouring frames, [N·T, C, H, W] → [N·T, C, H, W]; no parameters.

    At the ends of a clip the frames that are not there count as zeros, as in a pooling layer with padding.

    Args:
        frames: T, the frames of a clip.
        kernel: K, odd.
    """

    def __init__(self, *, frames: int, kernel: int = 3) -> None:
        super().__init__(frames=frames)
        _check_taps(kernel)
        self.kernel = kernel

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips; the shapes stand at the class."""
        shape = (as_clips(x, self.frames).shape[0], x.shape[1], self.kernel)
        return adaptive_conv(x, x.new_full((1, 1, 1), 1 / self.kernel).expand(shape))

    def extra_repr(self) -> str:
        """Show T and the settings in the printed network."""
        return f"{super().extra_repr()}, kernel={self.kernel}"


class TemporalConv(ClipModule):
    """Dense convolution over time, [N·T, C, H, W] → [N·T, C, H, W]; K×1×1, no bias.

    It starts as the identity (the paper does not say how its own starts; a random one in the midst of
    ImageNet's features would have to be undone first).

    Args:
        channels: C.
        frames: T, the frames of a clip.
        kernel: K, odd.
    """

    def __init__(self, channels: int, *, frames: int, kernel: int = 3) -> None:
        super().__init__(frames=frames)
        _check_taps(kernel)
        # In two dimensions, time and place: five-dimensional weights have no channels-last form.
        self.conv = nn.Conv2d(channels, channels, (kernel, 1), padding=(kernel // 2, 0), bias=False)
        nn.init.dirac_(self.conv.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips; the shapes stand at the class."""
        y = self.conv(as_clips(x, self.frames).transpose(1, 2).flatten(3))  # [N, C, T, H·W]
        return y.unflatten(3, x.shape[2:]).transpose(1, 2).flatten(0, 1)


class SideTaps(ClipModule):
    """What inflating a 2D convolution adds, its taps on other frames: [N·T, C, H, W] → [N·T, C', H', W'].

    Added to the convolution's own output, it makes the inflated convolution: the 2D weight, which keeps its
    name, is the middle tap. The side taps start at zero, so that I3D starts as the 2D network.

    Args:
        conv: the 2D convolution, C → C', ungrouped.
        frames: T, the frames of a clip.
        kernel: K, odd.
    """

    def __init__(self, conv: nn.Conv2d, *, frames: int, kernel: int = 3) -> None:
        super().__init__(frames=frames)
        _check_taps(kernel)
        if kernel == 1:
            raise UserError("an inflated convolution needs 3 taps or more, not 1")
        if conv.groups != 1 or isinstance(conv.padding, str):
            raise UserError("only an ungrouped convolution with padding in numbers can be inflated")
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
        """Transform the frames of all clips; the shapes stand at the class."""
        taps = self.taps_conv(x).unflatten(1, (len(self.ahead), -1))  # [N·T, K-1, C', H', W']
        return shift_sum(taps, self.ahead, frames=self.frames)


def _check_taps(kernel: int) -> None:
    if kernel < 1 or kernel % 2 == 0:
        raise UserError(f"kernel must be odd, not {kernel}")

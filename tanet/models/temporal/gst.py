"""Grouped spatial-temporal convolution of GST, which takes the place of a block's 3×3 convolution.

    Y = concatenate(W_s ∗ X_s, W_t ∗ X_t)        W_s: 1×3×3,  (α - 1)/α of the outputs;  W_t: 3×3×3,  1/α

With β = 2, X_s and X_t are the first and the second half of the channels. With β = 1 (GST-Large), both are X.
Luo and Yuille, "Grouped Spatial-Temporal Aggregation for Efficient Action Recognition", ICCV 2019.
"""

import torch
from torch import nn

from tanet.errors import UserError
from tanet.models.temporal.clip_module import ClipModule
from tanet.ops import shift_sum

TAPS = 3


class GroupedConv(ClipModule):
    """Convolution in space beside one in space and time, [N·T, C, H, W] → [N·T, outputs, H/s, W/s].

    Args:
        conv: the 3×3 convolution to replace. Its weights initialize the spatial convolution.
        frames: T, frames per clip.
        share: α; one of α outputs sees neighbouring frames.
        groups: β, 1 or 2.
    """

    def __init__(self, conv: nn.Conv2d, *, frames: int, share: int = 4, groups: int = 2) -> None:
        super().__init__(frames=frames)
        channels, outputs = conv.in_channels, conv.out_channels
        if conv.groups > 1 or outputs < share or channels % groups:
            raise UserError("gst needs 3×3 convolutions without groups, with at least gst_share channels")
        self.part = channels // groups
        stride, padding = conv.stride[0], int(conv.padding[0])
        size, temporal = conv.kernel_size[0], outputs // share
        self.space = nn.Conv2d(self.part, outputs - temporal, size, stride, padding, bias=False)
        # The taps of W_t side by side: a Conv2d is faster than a Conv3d, and `channels_last` applies to it.
        self.temporal = nn.Conv2d(self.part, TAPS * temporal, size, stride, padding, bias=False)
        nn.init.kaiming_normal_(self.temporal.weight, mode="fan_out", nonlinearity="relu")
        with torch.no_grad():
            self.space.weight.copy_(conv.weight[: outputs - temporal, : self.part])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips; the class docstring gives the shapes."""
        taps = self.temporal(x[:, -self.part :]).unflatten(1, (TAPS, -1))  # [N·T, 3, outputs/α, H/s, W/s]
        time = shift_sum(taps, (-1, 0, 1), frames=self.frames)
        return torch.cat((self.space(x[:, : self.part]), time), 1)

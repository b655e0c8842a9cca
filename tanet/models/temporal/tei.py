"""TEI, the temporal module of TEINet, which enhances moving features and then mixes neighbouring frames.

    s = mean of X over H, W                                                             [N, C, T]
    MEM:  D[t] = W1 s[t] - (W2 ∗ s)[t+1],   U[t] = σ(W3 D[t]) · X[t],   U[T-1] = X[T-1]
    TIM:  Y[t, c] = Σ_k w[c, k] · U[t + k - 1, c],  zero outside the clip

Liu, Luo, Wang, Wang, Tai, Wang, Li, Huang, Lu: TEINet: Towards an Efficient Architecture for Video
Recognition, AAAI 2020. W1 and W2 of the motion enhanced module (MEM) reduce the number of channels by a
factor of 8. The temporal interaction module (TIM) is a depthwise convolution along time, initialised as the
temporal shift of TSM. Like TAM, TEI is inserted after the first convolution of a block (position b).

No code was published, and the paper does not give the kernel sizes of MEM's convolutions. Here W2 covers 3
frames, and W1 and W3 cover 1 frame. ResNet-50 then has 25.12 M parameters for 400 classes. TAM's authors, who
also wrote TEINet, report 25.11 M in Table 2 of TAM's paper. If W2 covered only 1 frame, ResNet-50 would have
24.81 M parameters.
"""

import torch
from torch import nn
from torch.nn import functional as F

from tanet.errors import UserError
from tanet.models.temporal.clip_module import ClipModule
from tanet.models.temporal.tam_branches import rows_to_clips
from tanet.models.temporal.temporal_shift import shift_weights
from tanet.ops import adaptive_conv, squeeze


class TEI(ClipModule):
    """Temporal enhancement and interaction, [N·T, C, H, W] → [N·T, C, H, W].

    Args:
        channels: C.
        frames: T, frames per clip.
        reduction: MEM reduces C channels to C/reduction before it compares frames.
        divisor: at initialisation, TIM takes C/divisor channels from the next frame, and as many from the
            previous frame.
    """

    taps = 3
    """Multiply-adds per output element."""

    def __init__(self, channels: int, *, frames: int, reduction: int = 8, divisor: int = 8) -> None:
        super().__init__(frames=frames)
        if min(frames, divisor, reduction) < 1 or reduction > channels:
            raise UserError(
                f"frames, divisor and reduction must be positive, and reduction at most {channels} (channels)"
            )
        narrow = channels // reduction
        self.now = nn.Conv1d(channels, narrow, 1, bias=False)
        self.next = nn.Conv1d(channels, narrow, 3, padding=1, bias=False)
        self.expand = nn.Conv1d(narrow, channels, 1, bias=False)
        self.weight = nn.Parameter(shift_weights(channels, taps=self.taps, part=channels // divisor))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips; the class docstring gives the shapes."""
        s = rows_to_clips(squeeze(x), self.frames)  # [N, C, T]
        moved = self.now(s) - F.pad(self.next(s), (-1, 1))  # [N, C/8, T]
        gate = F.pad(self.expand(moved).sigmoid()[..., :-1], (0, 1), value=1.0)  # [N, C, T]
        return adaptive_conv(x, self.weight.expand(s.shape[0], -1, -1), gate=gate)

"""TAM, the temporal adaptive module: each clip makes its own temporal kernel.

    s = mean of X over H, W                                        [N, C, T]     (eq. 1)
    V = L(s) = σ(conv(ReLU(BN(conv(s)))))    importance (gate)     [N, C, T]     (eq. 3)
    Θ = G(s) = softmax(W2 ReLU(BN(W1 s)))    aggregation (kernel)  [N, C, K]     (eq. 4)
    TANet:    Y = Θ ⊗ (V · X)   (eq. 7)          TANet-R:  Y = V · (Θ ⊗ X)   (eq. 8)

Liu, Wang, Wu, Qian, Lu: TAM: Temporal Adaptive Module for Video Recognition, ICCV 2021. Not to be confused
with the module of the same initials in bLVNet (Fan et al. 2019), which is temporal *aggregation*: a sum of
depthwise 1×1 convolutions of neighbouring frames.
"""

from typing import Literal

import torch
from torch import nn

from tanet.ops import adaptive_conv


class TAM(nn.Module):
    """Temporal adaptive module, [N·T, C, H, W] → [N·T, C, H, W].

    Its parameters are named as in the published code (`G.0`, `G.1`, `G.3`, `L.0`, `L.1`, `L.3`). T is a part
    of the weights: a module for 8 frames can not take 16. Freshly initialised it is not the identity (it
    shrinks its input to about 0.28 of its standard deviation), so BatchNorm behind it must be trained.

    Args:
        channels: C.
        frames: T, the frames of a clip.
        alpha: width of the global branch's hidden layer, αT (Table 1a).
        beta: reduction of the local branch, C/β (Table 1a).
        kernel: K, taps of the adaptive kernel; odd (Table 1b).
        local_kernel: taps of the local branch's first convolution. The paper has 3; the published code
            makes it as wide as K.
        order: "tam" gates first and aggregates then (eq. 7), "tanet-r" the other way round (eq. 8).
    """

    def __init__(
        self,
        channels: int,
        *,
        frames: int,
        alpha: int = 2,
        beta: int = 4,
        kernel: int = 3,
        local_kernel: int = 3,
        order: Literal["tam", "tanet-r"] = "tam",
    ) -> None:
        super().__init__()
        if kernel % 2 == 0 or local_kernel % 2 == 0:
            raise ValueError(f"kernel and local_kernel must be odd, not {kernel} and {local_kernel}")
        if min(frames, alpha, beta) < 1 or beta > channels:
            raise ValueError(f"frames, alpha, beta must be positive and beta ≤ {channels} (channels)")
        if order not in ("tam", "tanet-r"):
            raise ValueError(f"unknown order '{order}': known are tam, tanet-r")
        self.frames = frames
        self.order = order
        hidden, narrow = alpha * frames, channels // beta
        self.G = nn.Sequential(
            nn.Linear(frames, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, kernel, bias=False),
            nn.Softmax(dim=-1),
        )
        self.L = nn.Sequential(
            nn.Conv1d(channels, narrow, local_kernel, padding=local_kernel // 2, bias=False),
            nn.BatchNorm1d(narrow),
            nn.ReLU(inplace=True),
            nn.Conv1d(narrow, channels, 1, bias=False),
            nn.Sigmoid(),
        )

    def branches(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The gate V [N, C, T] and the kernel Θ [N, C, K] that the maps x [N·T, C, H, W] give rise to."""
        s = x.mean((2, 3)).unflatten(0, (-1, self.frames)).mT  # [N, C, T]
        kernel = self.G(s.flatten(0, 1)).unflatten(0, s.shape[:2])  # [N, C, K]
        return self.L(s), kernel

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, kernel = self.branches(x)
        if self.order == "tam":
            return adaptive_conv(x, kernel, gate=gate)
        return adaptive_conv(x, kernel) * gate.mT.flatten(0, 1)[..., None, None]

    def extra_repr(self) -> str:
        return f"frames={self.frames}, order={self.order}"

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

from tanet.ops import Act, activate, adaptive_conv


def squeeze(x: torch.Tensor, frames: int) -> torch.Tensor:
    """The mean over space of each frame's maps: [N·T, C, H, W] → s [N, C, T] (eq. 1)."""
    return x.mean((2, 3)).unflatten(0, (-1, frames)).mT


def global_branch(frames: int, *, alpha: int, kernel: int) -> nn.Sequential:
    """G: rows of T values → weights of K taps (eq. 4); its children are named as in the published code."""
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"kernel must be odd, not {kernel}")
    if min(frames, alpha) < 1:
        raise ValueError(f"frames and alpha must be positive, not {frames} and {alpha}")
    return nn.Sequential(
        nn.Linear(frames, alpha * frames, bias=False),
        nn.BatchNorm1d(alpha * frames),
        nn.ReLU(inplace=True),
        nn.Linear(alpha * frames, kernel, bias=False),
        nn.Softmax(dim=-1),
    )


def local_branch(channels: int, *, beta: int, kernel: int) -> nn.Sequential:
    """L: s [N, C, T] → the gate V [N, C, T] (eq. 3); its children are named as in the published code."""
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"local_kernel must be odd, not {kernel}")
    if not 1 <= beta <= channels:
        raise ValueError(f"beta must be in 1 … {channels} (channels), not {beta}")
    return nn.Sequential(
        nn.Conv1d(channels, channels // beta, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm1d(channels // beta),
        nn.ReLU(inplace=True),
        nn.Conv1d(channels // beta, channels, 1, bias=False),
        nn.Sigmoid(),
    )


def aggregation(branch: nn.Module, s: torch.Tensor) -> torch.Tensor:
    """The kernel Θ [N, C, K] that a global branch makes of s [N, C, T]."""
    return branch(s.flatten(0, 1)).unflatten(0, s.shape[:2])


def apply_gate(x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """Multiply the maps x [N·T, C, H, W] by the gate [N, C, T]."""
    return x * gate.mT.flatten(0, 1)[..., None, None]


class TakenNorm(nn.BatchNorm2d):
    """A BatchNorm whose work a temporal module has taken over: what enters leaves as it is."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input

    def scale_and_shift(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Its affine map of each channel [C] for x [N·T, C, H, W]; in training it moves the statistics."""
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        mean, var = self.running_mean, self.running_var
        if self.training:
            var, mean = torch.var_mean(x.float() if x.dtype.itemsize < 4 else x, (0, 2, 3), correction=0)
            count = x.numel() / x.shape[1]
            with torch.no_grad():
                self.num_batches_tracked += 1
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * (count / (count - 1)), self.momentum)
        scale = self.weight * (var + self.eps).rsqrt()
        return scale, self.bias - mean * scale


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
        if order not in ("tam", "tanet-r"):
            raise ValueError(f"unknown order '{order}': known are tam, tanet-r")
        self.frames, self.order, self.taps = frames, order, kernel
        self.norm: TakenNorm | None = None
        self.act: Act = "none"
        self.G = global_branch(frames, alpha=alpha, kernel=kernel)
        self.L = local_branch(channels, beta=beta, kernel=local_kernel)

    def take_in(self, norm: TakenNorm, act: Act) -> None:
        """Compute what stood before the module, `norm`, then `act`; x is then what entered the norm."""
        # A child of its own block goes on owning the norm's parameters: here it is only referred to.
        object.__setattr__(self, "norm", norm)
        self.act = act

    def branches(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The gate V [N, C, T] and the kernel Θ [N, C, K] that the maps x [N·T, C, H, W] give rise to."""
        s = squeeze(x, self.frames)  # [N, C, T]
        return self.L(s), aggregation(self.G, s)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale, shift = (None, None) if self.norm is None else self.norm.scale_and_shift(x)
        gate, kernel = self.branches(activate(x, scale=scale, shift=shift, act=self.act))
        if self.order == "tam":
            return adaptive_conv(x, kernel, gate=gate, scale=scale, shift=shift, act=self.act)
        return apply_gate(adaptive_conv(x, kernel, scale=scale, shift=shift, act=self.act), gate)

    def extra_repr(self) -> str:
        return f"frames={self.frames}, order={self.order}"

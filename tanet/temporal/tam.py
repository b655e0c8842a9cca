"""TAM, the temporal adaptive module: each clip makes its own temporal kernel.

    s = mean of X over H, W                                        [N, C, T]     (eq. 1)
    V = L(s) = σ(conv(ReLU(BN(conv(s)))))    importance (gate)     [N, C, T]     (eq. 3)
    Θ = G(s) = softmax(W2 ReLU(BN(W1 s)))    aggregation (kernel)  [N, C, K]     (eq. 4)
    TANet:    Y = Θ ⊗ (V · X)   (eq. 7)          TANet-R:  Y = V · (Θ ⊗ X)   (eq. 8)

Liu, Wang, Wu, Qian, Lu: TAM: Temporal Adaptive Module for Video Recognition, ICCV 2021. Not to be confused
with the module of the same initials in bLVNet (Fan et al. 2019), which is temporal *aggregation*: a sum of
depthwise 1×1 convolutions of neighbouring frames.
"""

import math
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from tanet.ops import Act, Norm, Taken, as_clips, implementation, moments, take_in

HIDDEN = 0.4
"""Mean of a hidden unit of the global branch at the start: of what ReLU leaves of a normal value, 1/√(2π)."""


class FrameConv(nn.Conv1d):
    """A convolution along time on rows, one row a frame: [N·T, C] → [N·T, C'], zeros outside the clip.

    The parameters are those of a Conv1d; computed as one matrix product, which takes no other memory format.
    """

    def __init__(self, channels: int, outputs: int, kernel: int, *, frames: int) -> None:
        super().__init__(channels, outputs, kernel, padding=kernel // 2, bias=False)
        self.frames = frames

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        (kernel,) = self.kernel_size
        if kernel > 1:
            half = kernel // 2
            rows = F.pad(as_clips(input, self.frames), (0, 0, half, half))  # [N, T + 2·half, C]
            steps = [rows[:, k : k + self.frames] for k in range(kernel)]
            input = torch.cat(steps, 2).flatten(0, 1)  # [N·T, K·C]
        return F.linear(input, self.weight.transpose(1, 2).flatten(1))


def global_branch(frames: int, *, alpha: int, kernel: int, identity: float = 0.0) -> nn.Sequential:
    """G: rows of T values → weights of K taps (eq. 4); its children are named as in the published code.

    `identity` is by how much the middle tap's logit leads the others' at the start, on average: its last
    weights are raised, and what they weigh is not negative.
    """
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"kernel must be odd, not {kernel}")
    if min(frames, alpha) < 1:
        raise ValueError(f"frames and alpha must be positive, not {frames} and {alpha}")
    if not 0 <= identity < math.inf:
        raise ValueError(f"identity must be a number from 0 on, not {identity}")
    branch = nn.Sequential(
        nn.Linear(frames, alpha * frames, bias=False),
        nn.BatchNorm1d(alpha * frames),
        nn.ReLU(inplace=True),
        nn.Linear(alpha * frames, kernel, bias=False),
        nn.Softmax(dim=-1),
    )
    with torch.no_grad():
        branch[3].get_parameter("weight")[kernel // 2] += identity / (alpha * frames * HIDDEN)
    return branch


def local_branch(channels: int, *, frames: int, beta: int, kernel: int) -> nn.Sequential:
    """L: rows [N·T, C] → the gate's rows [N·T, C] (eq. 3); its children are named as in the published one."""
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"local_kernel must be odd, not {kernel}")
    if not 1 <= beta <= channels:
        raise ValueError(f"beta must be in 1 … {channels} (channels), not {beta}")
    return nn.Sequential(
        FrameConv(channels, channels // beta, kernel, frames=frames),
        nn.BatchNorm1d(channels // beta),
        nn.ReLU(inplace=True),
        FrameConv(channels // beta, channels, 1, frames=frames),
        nn.Sigmoid(),
    )


def by_clip(rows: torch.Tensor, frames: int) -> torch.Tensor:
    """Rows [N·T, C], one a frame, as [N, C, T]."""
    return as_clips(rows, frames).mT


def aggregation(branch: nn.Module, s: torch.Tensor, frames: int) -> torch.Tensor:
    """The kernel Θ [N, C, K] that a global branch makes of the rows s [N·T, C]."""
    rows = by_clip(s, frames)  # [N, C, T]
    return branch(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])


def apply_gate(x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """Multiply the maps x [N·T, C, H, W] by the gate [N, C, T]."""
    return x * gate.mT.flatten(0, 1)[..., None, None].to(x.dtype)


class TakenNorm(nn.BatchNorm2d):
    """A BatchNorm whose work a temporal module has taken over: what enters leaves as it is."""

    frozen: tuple[torch.Tensor, torch.Tensor] | None = None
    """Scale and shift, where they are settled (`VideoNet.optimize`); neither cast nor moved by `to`."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input

    def of(self, x: torch.Tensor, *, frames: int, taps: int) -> Norm:
        """What it does to x [N·T, C, H, W]; in training that moves its running statistics."""
        if self.frozen is not None:
            scale, shift = self.frozen
            zeros = torch.zeros_like(scale)
            return Norm(scale, shift, zeros, zeros + 1, 0.0, of_batch=False)
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        assert self.num_batches_tracked is not None
        mean, var = self.running_mean, self.running_var
        if self.training:
            mean, var = moments(x, frames=frames, taps=taps)
            count = x.numel() / x.shape[1]
            with torch.no_grad():
                self.num_batches_tracked += 1
                new, old = self.momentum, 1 - self.momentum
                self.running_mean.copy_(new * mean + old * self.running_mean)
                self.running_var.copy_(new * count / (count - 1) * var + old * self.running_var)
        return Norm(self.weight, self.bias, mean, var, self.eps, self.training)

    def scale_and_shift(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Its affine map of each channel [C] in evaluation."""
        if self.frozen is not None:
            return self.frozen
        assert self.running_mean is not None and self.running_var is not None
        norm = Norm(self.weight, self.bias, self.running_mean, self.running_var, self.eps, of_batch=False)
        return norm.scale_and_shift()


class TAM(nn.Module):
    """Temporal adaptive module, [N·T, C, H, W] → [N·T, C, H, W].

    Its parameters are named as in the published code (`G.0`, `G.1`, `G.3`, `L.0`, `L.1`, `L.3`). T is a part
    of the weights: a module for 8 frames can not take 16. Freshly initialised it is not the identity (it
    shrinks its input to about 0.28 of its standard deviation, with `identity` to 0.5), so BatchNorm behind it
    must be trained.

    On a GPU and without gradients, one operator computes the whole in evaluation: it reads the weights of G
    and L and calls neither, so their hooks see nothing. `branches` gives what the two would make.

    Args:
        channels: C.
        frames: T, the frames of a clip.
        alpha: width of the global branch's hidden layer, αT (Table 1a).
        beta: reduction of the local branch, C/β (Table 1a).
        kernel: K, taps of the adaptive kernel; odd (Table 1b).
        local_kernel: taps of the local branch's first convolution. The paper has 3; the published code
            makes it as wide as K.
        identity: how far the middle tap's logit leads at the start. 0 is the published start, where a tap
            weighs about 1/K; with a lead of 6 the middle one weighs 0.96, with 19 all but 0.001 (T = 8).
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
        identity: float = 0.0,
        order: Literal["tam", "tanet-r"] = "tam",
    ) -> None:
        super().__init__()
        if order not in ("tam", "tanet-r"):
            raise ValueError(f"unknown order '{order}': known are tam, tanet-r")
        self.frames, self.order, self.taps = frames, order, kernel
        self.conv: nn.Conv2d | None = None
        self.norm: TakenNorm | None = None
        self.act: Act = "none"
        self.G = global_branch(frames, alpha=alpha, kernel=kernel, identity=identity)
        self.L = local_branch(channels, frames=frames, beta=beta, kernel=local_kernel)

    def take_in(self, norm: TakenNorm, act: Act) -> None:
        """Compute what stood before the module, `norm`, then `act`; x is then what entered the norm."""
        # A child of its own block goes on owning the norm's parameters: here it is only referred to.
        object.__setattr__(self, "norm", norm)
        self.act = act

    def take_in_conv(self, conv: nn.Conv2d) -> None:
        """Compute what stood before the norm, a 1×1 convolution, as well; x is then what entered it."""
        self.conv = conv

    def lay_out(self) -> None:
        """Let the weights lie in memory as the kernels for evaluation read them fastest: C side by side."""
        weight = self.L[0].get_parameter("weight")
        weight.data = weight.data.transpose(1, 2).contiguous().transpose(1, 2)

    def branches(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The gate V [N, C, T] and the kernel Θ [N, C, K] that the maps x [N·T, C, H, W] give rise to."""
        return self._branches(self._squeeze(x).s)

    def _squeeze(self, x: torch.Tensor) -> Taken:
        as_clips(x, self.frames)  # refuses what makes no whole clips
        x = x if self.conv is None else self.conv(x)
        norm = None if self.norm is None else self.norm.of(x, frames=self.frames, taps=self.taps)
        gated = self.order == "tam"
        return take_in(x, frames=self.frames, taps=self.taps, gated=gated, norm=norm, act=self.act)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.order == "tam" and self._evaluates(x):
            return self._evaluate(x)
        taken = self._squeeze(x)
        gate, kernel = self._branches(taken.s)
        if self.order == "tam":
            return taken.filter(kernel, gate=gate)
        return apply_gate(taken.filter(kernel), gate)

    def _branches(self, s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return by_clip(self.L(s), self.frames), aggregation(self.G, s, self.frames)

    def _evaluates(self, x: torch.Tensor) -> bool:
        """Whether kernels for evaluation alone can compute the whole."""
        fused = implementation(x, taps=self.taps, frames=self.frames) == "triton"
        fits = bool(self.G[0].out_features <= 256)  # type: ignore[operator]  # αT, which a program holds
        trains = any(norm is not None and norm.training for norm in (self.G[1], self.L[1], self.norm))
        return fused and fits and not trains and not torch.is_grad_enabled()

    def _evaluate(self, x: torch.Tensor) -> torch.Tensor:
        from tanet.ops.tam_triton import tam

        as_clips(x, self.frames)  # refuses what makes no whole clips
        conv = None if self.conv is None else self.conv.weight
        if self.conv is not None and (x.dtype != self.conv.weight.dtype or x.dtype == torch.float32):
            x, conv = self.conv(x), None  # called, it heeds autocast and what is set for float32
        scale, shift = (None, None) if self.norm is None else self.norm.scale_and_shift()
        g, l = (_weights(branch) for branch in (self.G, self.L))  # noqa: E741
        return tam(x, conv, scale, shift, self.act, self.frames, g, self.G[1].eps, l, self.L[1].eps)  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        return f"frames={self.frames}, order={self.order}"


def _weights(branch: nn.Sequential) -> list[torch.Tensor]:
    """First weight, BatchNorm's weight, bias, mean, variance, last weight of a branch."""
    first, norm, last = branch[0], branch[1], branch[3]  # norm may be a SyncBatchNorm
    weights = [first.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var, last.weight]
    assert all(isinstance(weight, torch.Tensor) for weight in weights)
    return weights  # type: ignore[return-value]

"""TAM, the temporal adaptive module: it computes a temporal kernel for each clip from the clip itself.

    s = mean of X over H, W                                        [N, C, T]     (eq. 1)
    V = L(s) = σ(conv(ReLU(BN(conv(s)))))    importance (gate)     [N, C, T]     (eq. 3)
    Θ = G(s) = softmax(W2 ReLU(BN(W1 s)))    aggregation (kernel)  [N, C, K]     (eq. 4)
    TANet:    Y = Θ ⊗ (V · X)   (eq. 7)          TANet-R:  Y = V · (Θ ⊗ X)   (eq. 8)

Liu, Wang, Wu, Qian, Lu: TAM: Temporal Adaptive Module for Video Recognition, ICCV 2021. The TAM of bLVNet
(Fan et al. 2019) is a different module, temporal *aggregation*: a sum of depthwise 1×1 convolutions of
neighbouring frames (temporal_aggregation.py).
"""

from typing import Literal

import torch
from torch import nn

from tanet.errors import UserError
from tanet.models.temporal.absorbed_norm import AbsorbedBatchNorm
from tanet.models.temporal.clip_module import ClipModule
from tanet.models.temporal.tam_branches import (
    aggregation_kernel,
    apply_gate,
    global_branch,
    local_branch,
    rows_to_clips,
)
from tanet.ops import Activation, SqueezedMaps, as_clips, backend_for, squeeze_maps


class TAM(ClipModule):
    """Temporal adaptive module, [N·T, C, H, W] → [N·T, C, H, W].

    Parameters are named as in the published code (`G.0`, `G.1`, `G.3`, `L.0`, `L.1`, `L.3`).
    The weights depend on T: a module for 8 frames cannot take 16.
    At initialisation the module is not the identity: it shrinks the standard deviation of its input to about
    0.28 (0.5 with a large `center_tap_bias`), so the BatchNorm after it must be trained.

    In evaluation mode on a GPU without gradients, one operator computes the whole module. It reads the
    weights of G and L without calling G and L, so their hooks do not run; `branches` returns their outputs.

    Args:
        channels: C.
        frames: T, frames per clip.
        alpha: α; the global branch's hidden layer has αT units (Table 1a).
        beta: β; the local branch's hidden layer has C/β channels (Table 1a).
        kernel: K, number of taps of the adaptive kernel; odd (Table 1b).
        local_kernel: number of taps of the local branch's first convolution; odd. The paper uses 3, the
            published code uses K.
        center_tap_bias: mean amount by which the middle tap's logit exceeds the others at initialisation.
            With 0, as published, each tap weighs about 1/K; with 6 the middle tap weighs 0.96, with 19 it
            weighs 0.999 (T = 8).
        order: "tam" gates, then aggregates (eq. 7); "tanet-r" aggregates, then gates (eq. 8).
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
        center_tap_bias: float = 0.0,
        order: Literal["tam", "tanet-r"] = "tam",
    ) -> None:
        super().__init__(frames=frames)
        if order not in ("tam", "tanet-r"):
            raise UserError(f"unknown order '{order}': choose from tam, tanet-r")
        self.order, self.taps = order, kernel
        self.conv: nn.Conv2d | None = None
        self.norm: AbsorbedBatchNorm | None = None
        self.act: Activation = "none"
        self.G = global_branch(frames, alpha=alpha, kernel=kernel, center_tap_bias=center_tap_bias)
        self.L = local_branch(channels, frames=frames, beta=beta, kernel=local_kernel)

    def absorb_norm(self, norm: AbsorbedBatchNorm, act: Activation) -> None:
        """Compute `norm` and `act` inside this module from now on; `forward` then takes the norm's input."""
        # The norm stays a child of its own block. Module.__setattr__ would register it here a second time.
        object.__setattr__(self, "norm", norm)
        self.act = act

    def absorb_conv(self, conv: nn.Conv2d) -> None:
        """Also compute the 1×1 convolution before the norm; `forward` then takes the convolution's input."""
        self.conv = conv

    def to_kernel_layout(self) -> None:
        """Store L's first weight with C innermost in memory, which the evaluation kernels read fastest."""
        weight = self.L[0].get_parameter("weight")
        weight.data = weight.data.transpose(1, 2).contiguous().transpose(1, 2)

    def branches(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the gate V [N, C, T] and the kernel Θ [N, C, K] for the maps x [N·T, C, H, W]."""
        return self._branches(self._squeeze(x).s)

    def _squeeze(self, x: torch.Tensor) -> SqueezedMaps:
        as_clips(x, self.frames)  # raises unless x holds whole clips
        x = x if self.conv is None else self.conv(x)
        backend = backend_for(x, taps=self.taps, frames=self.frames)  # moments and squeeze must use the same
        return squeeze_maps(
            x,
            frames=self.frames,
            taps=self.taps,
            gated=self.order == "tam",
            norm=None if self.norm is None else self.norm.values_for(x, backend=backend),
            act=self.act,
            backend=backend,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips; the class docstring gives the shapes."""
        if self.order == "tam" and self._evaluates(x):
            return self._evaluate(x)
        squeezed = self._squeeze(x)
        gate, kernel = self._branches(squeezed.s)
        if self.order == "tam":
            return squeezed.filter(kernel, gate=gate)
        return apply_gate(squeezed.filter(kernel), gate)

    def _branches(self, s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return rows_to_clips(self.L(s), self.frames), aggregation_kernel(self.G, s, self.frames)

    def _evaluates(self, x: torch.Tensor) -> bool:
        """Return whether the evaluation kernels can compute the whole module for x."""
        fused = backend_for(x, taps=self.taps, frames=self.frames) == "triton"
        fits = bool(self.G[0].out_features <= 256)  # type: ignore[operator]  # αT units fit one program
        trains = any(norm is not None and norm.training for norm in (self.G[1], self.L[1], self.norm))
        return fused and fits and not trains and not torch.is_grad_enabled()

    def _evaluate(self, x: torch.Tensor) -> torch.Tensor:
        from tanet.ops.tam_inference.tam import tam

        as_clips(x, self.frames)  # raises unless x holds whole clips
        conv = None if self.conv is None else self.conv.weight
        if self.conv is not None and (x.dtype != self.conv.weight.dtype or x.dtype == torch.float32):
            x, conv = self.conv(x), None  # the call respects autocast and float32 (TF32) settings
        scale, shift = (None, None) if self.norm is None else self.norm.scale_and_shift()
        g, l = (_weights(branch) for branch in (self.G, self.L))  # noqa: E741
        return tam(x, conv, scale, shift, self.act, self.frames, g, self.G[1].eps, l, self.L[1].eps)  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        """Show T and the settings when the network is printed."""
        return f"{super().extra_repr()}, order={self.order}"


def _weights(branch: nn.Sequential) -> list[torch.Tensor]:
    """Return first weight, BatchNorm's weight, bias, mean and variance, and last weight of a branch."""
    first, norm, last = branch[0], branch[1], branch[3]  # norm may be a SyncBatchNorm
    weights = [first.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var, last.weight]
    assert all(isinstance(weight, torch.Tensor) for weight in weights)
    return weights  # type: ignore[return-value]

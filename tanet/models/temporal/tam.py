"""TAM, the temporal adaptive module, which filters each clip with a temporal kernel computed from the clip.

    s = mean of X over H, W                                        [N, C, T]     (eq. 1)
    V = L(s) = σ(conv(ReLU(BN(conv(s)))))    importance (gate)     [N, C, T]     (eq. 3)
    Θ = G(s) = softmax(W2 ReLU(BN(W1 s)))    aggregation (kernel)  [N, C, K]     (eq. 4)
    TANet:    Y = Θ ⊗ (V · X)   (eq. 7)          TANet-R:  Y = V · (Θ ⊗ X)   (eq. 8)

With a static kernel, Θ = G(s) + S, where S [C, K] is learned. G is shared by all channels, so without S,
channels with the same s have the same kernel. And without S, all weights of a kernel are positive: a single
channel cannot take the difference of two frames. The static kernel is not in the paper.

The symbol ⊗ is a convolution along time, separately for each channel.

Liu, Wang, Wu, Qian, Lu: TAM: Temporal Adaptive Module for Video Recognition, ICCV 2021. bLVNet (Fan et al.
2019) has a different module with the same acronym. That module, the temporal *aggregation* module, sums
depthwise 1×1 convolutions of neighbouring frames (temporal_aggregation.py).
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
    initial_static_kernel,
    local_branch,
    rows_to_clips,
)
from tanet.models.temporal.tam_training import fits, train_branches
from tanet.ops import Activation, SqueezedMaps, as_clips, backend_for, squeeze_maps
from tanet.recipes.network_settings import StaticKernel


class TAM(ClipModule):
    """Temporal adaptive module, [N·T, C, H, W] → [N·T, C, H, W].

    Parameters are named as in the published code (`G.0`, `G.1`, `G.3`, `L.0`, `L.1`, `L.3`); it has no `S`.
    The weights depend on T: a module built for 8 frames cannot process 16 frames.
    At initialisation the module is not the identity. It multiplies the standard deviation of its input by
    about 0.28, or by 0.5 with a large `center_tap_bias` or the static kernel "shift". Therefore, the
    BatchNorm after the module must be trained.

    In evaluation mode on a GPU without gradients, one operator computes the whole module (order "tam"). In
    training mode on a GPU, one operator computes both branches. These operators read the weights of the
    branches G and L but do not call G and L, so hooks of G and L do not run. Call `branches` to get the
    outputs of G and L.

    Args:
        channels: C.
        frames: T, frames per clip.
        alpha: α; the global branch's hidden layer has αT units (Table 1a).
        beta: β; the local branch's hidden layer has C/β channels (Table 1a).
        kernel: K, number of taps of the adaptive kernel; odd (Table 1b).
        local_kernel: number of taps of the local branch's first convolution; odd. The paper uses 3, the
            published code uses K.
        center_tap_bias: mean amount by which the middle tap's logit exceeds the others at initialisation.
            With 0, as in the published code, the weight of each tap is about 1/K. For T = 8, a bias of 6
            gives the middle tap a weight of 0.96, and a bias of 19 gives it a weight of 0.999.
        static_kernel: how the static kernel S starts. "none": no S, as in the paper. "zeros": 0. "shift":
            static_strength · (one-hot - the kernel that G starts with). With strength 1, Θ is then about
            one-hot, as in TSM: C / shift_div channels (at least one) read the next frame, as many the
            previous frame, and the rest the current frame. "random": normally distributed.
        static_strength: factor of "shift", or standard deviation of "random".
        shift_div: see `static_kernel`.
        order: "tam" applies the gate first, then the kernel (eq. 7); "tanet-r" applies the kernel first, then
            the gate (eq. 8).
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
        static_kernel: StaticKernel = "none",
        static_strength: float = 1.0,
        shift_div: int = 8,
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
        static = initial_static_kernel(
            channels,
            kernel,
            kind=static_kernel,
            strength=static_strength,
            shift_div=shift_div,
            center_tap_bias=center_tap_bias,
        )
        self.S = None if static is None else nn.Parameter(static)

    def absorb_norm(self, norm: AbsorbedBatchNorm, act: Activation) -> None:
        """Make this module also compute `norm` and `act`. `forward` then takes the input of `norm`."""
        # Module.__setattr__ would also register the norm as a child of TAM, so bypass Module.__setattr__.
        object.__setattr__(self, "norm", norm)
        self.act = act

    def absorb_conv(self, conv: nn.Conv2d) -> None:
        """Make this module also compute the 1×1 convolution `conv`. `forward` then takes `conv`'s input."""
        self.conv = conv

    def to_kernel_layout(self) -> None:
        """Store the first weight of the local branch L with C innermost, as the evaluation kernels prefer."""
        weight = self.L[0].get_parameter("weight")
        weight.data = weight.data.transpose(1, 2).contiguous().transpose(1, 2)

    def branches(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the gate V [N, C, T] and the kernel Θ [N, C, K] for the maps x [N·T, C, H, W]."""
        return self._branches(self._squeeze(x).s)

    def _squeeze(self, x: torch.Tensor) -> SqueezedMaps:
        as_clips(x, self.frames)  # raises an error unless x consists of whole clips
        x = x if self.conv is None else self.conv(x)
        # The moments of the BatchNorm and the squeeze must be computed by the same backend.
        backend = backend_for(x, taps=self.taps, frames=self.frames)
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
        if fits(self.G, self.L, s, frames=self.frames):
            return train_branches(self.G, self.L, s, frames=self.frames, static=self.S)
        kernel = aggregation_kernel(self.G, s, self.frames, static=self.S)
        return rows_to_clips(self.L(s), self.frames), kernel

    def _evaluates(self, x: torch.Tensor) -> bool:
        """Return whether the evaluation kernels can compute the whole module for x."""
        fused = backend_for(x, taps=self.taps, frames=self.frames) == "triton"
        # One program of the kernel computes all αT hidden units of G, so the number of units is limited.
        fits = bool(self.G[0].out_features <= 256)  # type: ignore[operator]
        trains = any(norm is not None and norm.training for norm in (self.G[1], self.L[1], self.norm))
        return fused and fits and not trains and not torch.is_grad_enabled()

    def _evaluate(self, x: torch.Tensor) -> torch.Tensor:
        from tanet.ops.tam_inference.tam import tam

        as_clips(x, self.frames)  # raises an error unless x consists of whole clips
        conv = None if self.conv is None else self.conv.weight
        if self.conv is not None and (x.dtype != self.conv.weight.dtype or x.dtype == torch.float32):
            # Unlike the kernel, a call of the convolution respects autocast and the TF32 setting.
            x, conv = self.conv(x), None
        scale, shift = (None, None) if self.norm is None else self.norm.scale_and_shift()
        g, l = (_weights(branch) for branch in (self.G, self.L))  # noqa: E741
        eps = self.G[1].eps, self.L[1].eps
        return tam(x, conv, scale, shift, self.act, self.frames, self.S, g, eps[0], l, eps[1])  # type: ignore[arg-type]

    def extra_repr(self) -> str:
        """Show T and the settings when the network is printed."""
        return f"{super().extra_repr()}, order={self.order}"


def _weights(branch: nn.Sequential) -> list[torch.Tensor]:
    """Return the weights of a branch in the order that the operator `tam` expects.

    The list holds the first layer's weight, the BatchNorm's weight, bias, mean and variance, and the last
    layer's weight.
    """
    first, norm, last = branch[0], branch[1], branch[3]  # norm may be a SyncBatchNorm
    weights = [first.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var, last.weight]
    assert all(isinstance(weight, torch.Tensor) for weight in weights)
    return weights  # type: ignore[return-value]

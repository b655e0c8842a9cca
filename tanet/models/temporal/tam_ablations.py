"""Ablations of TAM (the temporal adaptive module), as in Table 2 of TAM's paper.

    global       Y = Θ ⊗ X              only the adaptive kernel, without a gate
    local        Y = V · X              only the gate, without an adaptive kernel
    global+se    Y = Θ ⊗ (E · X)        adaptive kernel, with squeeze-and-excitation as the gate

With static kernels S, which are not in the paper, `global` is Y = (Θ + S) ⊗ X, and `local` is
Y = (1/K + S) ⊗ (V · X): TAM with kernels that do not adapt to the clip.

E = σ(W2 ReLU(W1 s + b1) + b2) is computed for each frame separately with channel reduction 8, as Hu et al. do
for images (Squeeze-and-Excitation Networks, CVPR 2018). The other symbols are defined in tam.py.
"""

import torch
from torch import nn

from tanet.errors import UserError
from tanet.models.temporal.clip_module import ClipModule
from tanet.models.temporal.tam_branches import (
    aggregation_kernel,
    apply_gate,
    global_branch,
    local_branch,
    rows_to_clips,
)
from tanet.ops import squeeze, squeeze_maps


class GlobalBranch(ClipModule):
    """TAM's global branch alone, [N·T, C, H, W] → [N·T, C, H, W]. The weights do not depend on C.

    Args:
        frames: T, frames per clip.
        alpha: α; the hidden layer has αT units.
        kernel: K, number of taps of the adaptive kernel; odd.
        center_tap_bias: mean amount by which the middle tap's logit exceeds the others at initialisation.
        static: initial static kernel S [C, K], as in TAM, or None. With it, the weights depend on C.
    """

    def __init__(
        self,
        *,
        frames: int,
        alpha: int = 2,
        kernel: int = 3,
        center_tap_bias: float = 0.0,
        static: torch.Tensor | None = None,
    ) -> None:
        super().__init__(frames=frames)
        self.taps = kernel
        self.G = global_branch(frames, alpha=alpha, kernel=kernel, center_tap_bias=center_tap_bias)
        self.S = None if static is None else nn.Parameter(static)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips; the class docstring gives the shapes."""
        squeezed = squeeze_maps(x, frames=self.frames, taps=self.taps, gated=False)
        return squeezed.filter(aggregation_kernel(self.G, squeezed.s, self.frames, static=self.S))


class LocalBranch(ClipModule):
    """TAM's local branch alone, [N·T, C, H, W] → [N·T, C, H, W].

    Args:
        channels: C.
        frames: T, frames per clip.
        beta: β; the hidden layer has C/β channels.
        local_kernel: number of taps of the first convolution; odd.
        static: initial static kernel S [C, K], as in TAM, or None.
    """

    def __init__(
        self,
        channels: int,
        *,
        frames: int,
        beta: int = 4,
        local_kernel: int = 3,
        static: torch.Tensor | None = None,
    ) -> None:
        super().__init__(frames=frames)
        self.L = local_branch(channels, frames=frames, beta=beta, kernel=local_kernel)
        self.S = None if static is None else nn.Parameter(static)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips; the class docstring gives the shapes."""
        if self.S is None:
            return apply_gate(x, rows_to_clips(self.L(squeeze(x)), self.frames))
        squeezed = squeeze_maps(x, frames=self.frames, taps=self.S.shape[1], gated=True)
        gate, kernel = self.branches(squeezed.s)
        assert kernel is not None
        return squeezed.filter(kernel, gate=gate)

    def branches(self, s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the gate V [N, C, T] for the squeeze s [N·T, C], and the kernel [N, C, K] or None."""
        kernel = None
        if self.S is not None:
            kernel = (self.S + 1 / self.S.shape[1]).expand(s.shape[0] // self.frames, -1, -1)
        return rows_to_clips(self.L(s), self.frames), kernel


class GlobalSE(ClipModule):
    """TAM's global branch with squeeze-and-excitation as the gate, [N·T, C, H, W] → [N·T, C, H, W].

    Args:
        channels: C.
        frames: T, frames per clip.
        alpha: α; the global branch's hidden layer has αT units.
        kernel: K, number of taps of the adaptive kernel; odd.
        center_tap_bias: mean amount by which the middle tap's logit exceeds the others at initialisation.
        reduction: the hidden layer of squeeze-and-excitation has C/reduction channels.
    """

    def __init__(
        self,
        channels: int,
        *,
        frames: int,
        alpha: int = 2,
        kernel: int = 3,
        center_tap_bias: float = 0.0,
        reduction: int = 8,
    ) -> None:
        super().__init__(frames=frames)
        if not 1 <= reduction <= channels:
            raise UserError(f"reduction must be in 1 … {channels} (the number of channels), not {reduction}")
        self.taps = kernel
        self.G = global_branch(frames, alpha=alpha, kernel=kernel, center_tap_bias=center_tap_bias)
        self.SE = nn.Sequential(
            nn.Linear(channels, channels // reduction),
            nn.ReLU(inplace=True),
            nn.Linear(channels // reduction, channels),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform the frames of all clips; the class docstring gives the shapes."""
        squeezed = squeeze_maps(x, frames=self.frames, taps=self.taps, gated=True)
        gate = rows_to_clips(self.SE(squeezed.s), self.frames)
        return squeezed.filter(aggregation_kernel(self.G, squeezed.s, self.frames), gate=gate)

"""Branches of TAM. The local branch computes the gate (eq. 3), and the global branch the kernel (eq. 4)."""

import math
from typing import get_args

import torch
from torch import nn
from torch.nn import functional as F

from tanet.errors import UserError
from tanet.models.temporal.temporal_shift import shift_weights
from tanet.ops import as_clips
from tanet.recipes.network_settings import StaticKernel

MEAN_HIDDEN_ACTIVATION = 0.4
"""Mean hidden activation of the global branch at initialisation: E[ReLU(z)] = 1/√(2π) for z ~ N(0, 1)."""


class FrameConv(nn.Conv1d):
    """Zero-padded convolution along time: rows [N·T, C] → rows [N·T, C'], with one row per frame.

    The parameters are the same as those of a Conv1d. The forward pass is one matrix product on the rows,
    which avoids a conversion to the [N, C, T] layout that Conv1d needs.
    """

    def __init__(self, channels: int, outputs: int, kernel: int, *, frames: int) -> None:
        super().__init__(channels, outputs, kernel, padding=kernel // 2, bias=False)
        self.frames = frames

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Convolve along time: rows [N·T, C] → [N·T, C']."""
        (kernel,) = self.kernel_size
        if kernel > 1:
            half = kernel // 2
            rows = F.pad(as_clips(input, self.frames), (0, 0, half, half))  # [N, T + 2·half, C]
            steps = [rows[:, k : k + self.frames] for k in range(kernel)]
            input = torch.cat(steps, 2).flatten(0, 1)  # [N·T, K·C]
        return F.linear(input, self.weight.transpose(1, 2).flatten(1))


def global_branch(frames: int, *, alpha: int, kernel: int, center_tap_bias: float = 0.0) -> nn.Sequential:
    """Build the global branch G (eq. 4): rows of T values → rows of K tap weights.

    The children of G are named as in the published code.

    Args:
        frames: T, frames per clip.
        alpha: α; the hidden layer has αT units.
        kernel: K, number of taps; odd.
        center_tap_bias: mean amount by which the middle tap's logit exceeds the others at initialisation. To
            achieve this, a constant is added to all weights of the middle tap in the last layer. The inputs
            of this layer come from a ReLU and are never negative, so the logit does not decrease.

    Raises:
        UserError: an argument is out of range.
    """
    if kernel < 1 or kernel % 2 == 0:
        raise UserError(f"kernel must be odd, not {kernel}")
    if min(frames, alpha) < 1:
        raise UserError(f"frames and alpha must be positive, not {frames} and {alpha}")
    if not 0 <= center_tap_bias < math.inf:
        raise UserError(f"center_tap_bias must be finite and not negative, not {center_tap_bias}")
    branch = nn.Sequential(
        nn.Linear(frames, alpha * frames, bias=False),
        nn.BatchNorm1d(alpha * frames),
        nn.ReLU(inplace=True),
        nn.Linear(alpha * frames, kernel, bias=False),
        nn.Softmax(dim=-1),
    )
    with torch.no_grad():
        branch[3].get_parameter("weight")[kernel // 2] += center_tap_bias / (
            alpha * frames * MEAN_HIDDEN_ACTIVATION
        )
    return branch


def initial_static_kernel(
    channels: int,
    kernel: int,
    *,
    kind: StaticKernel,
    strength: float,
    shift_div: int,
    center_tap_bias: float = 0.0,
) -> torch.Tensor | None:
    """Return the initial static kernel S [C, K], or None if there is none; see `TAM`.

    Raises:
        UserError: an argument is out of range.
    """
    if kind not in get_args(StaticKernel):
        raise UserError(f"unknown static_kernel '{kind}': choose from {', '.join(get_args(StaticKernel))}")
    if not 0 <= strength < math.inf:
        raise UserError(f"static_strength must be finite and not negative, not {strength}")
    if kind == "none":
        return None
    start = torch.zeros(channels, kernel)
    if kind == "random":
        return start.normal_(std=strength) if strength else start
    if kind == "shift":
        if kernel < 3 or channels < 3:
            raise UserError(
                f"static_kernel shift needs at least 3 taps and 3 channels, not {kernel} and {channels}"
            )
        wanted = shift_weights(channels, taps=kernel, part=max(1, channels // shift_div))
        logits = torch.zeros(kernel)
        logits[kernel // 2] = center_tap_bias
        return strength * (wanted - logits.softmax(0))  # G adds its own initial kernel
    return start


def local_branch(channels: int, *, frames: int, beta: int, kernel: int) -> nn.Sequential:
    """Build the local branch L (eq. 3): rows [N·T, C] → rows of the gate [N·T, C].

    The children of L are named as in the published code.
    """
    if kernel < 1 or kernel % 2 == 0:
        raise UserError(f"local_kernel must be odd, not {kernel}")
    if not 1 <= beta <= channels:
        raise UserError(f"beta must be in 1 … {channels} (the number of channels), not {beta}")
    return nn.Sequential(
        FrameConv(channels, channels // beta, kernel, frames=frames),
        nn.BatchNorm1d(channels // beta),
        nn.ReLU(inplace=True),
        FrameConv(channels // beta, channels, 1, frames=frames),
        nn.Sigmoid(),
    )


def rows_to_clips(rows: torch.Tensor, frames: int) -> torch.Tensor:
    """Reshape rows [N·T, C], one per frame, to [N, C, T]."""
    return as_clips(rows, frames).mT


def aggregation_kernel(
    branch: nn.Sequential, s: torch.Tensor, frames: int, *, static: torch.Tensor | None = None
) -> torch.Tensor:
    """Apply the global branch to the rows s [N·T, C], one per frame, and return the kernel Θ [N, C, K].

    If there is a static kernel S [C, K], it is added.
    """
    rows = rows_to_clips(s, frames)  # [N, C, T]
    adaptive = branch(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
    return adaptive if static is None else adaptive + static


def apply_gate(x: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    """Multiply the maps x [N·T, C, H, W] by the gate [N, C, T]."""
    return x * gate.mT.flatten(0, 1)[..., None, None].to(x.dtype)

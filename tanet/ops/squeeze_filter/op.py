"""Maps that are squeezed, and then filtered by what their squeeze gave rise to: TAM's way with them.

    a = act(scale · X + shift)             what stands before, taken in: a BatchNorm and an activation
    s = mean of a over H, W                (eq. 1), from which a kernel and a gate are made
    Y = Σ_k Θ_k shift_k(gate · a)          `adaptive_conv`

On a GPU the two, and the moments that scale and shift come from, share one backward pass (taken_triton.py).
"""

from dataclasses import dataclass, field

import torch

from tanet.ops.adaptive_convolution.op import adaptive_conv
from tanet.ops.common.batch_norm import Norm
from tanet.ops.common.dispatch import Act, activate, implementation
from tanet.ops.pooling.op import squeeze


@dataclass(frozen=True)
class Taken:
    """Maps, their squeeze, and what the filter must know; one filter for one squeeze.

    `x` is for the filter alone: on a GPU its gradient is a message to the squeeze.
    """

    x: torch.Tensor
    s: torch.Tensor
    """Rows [N·T, C]."""
    scale: torch.Tensor | None
    shift: torch.Tensor | None
    act: Act
    messages: torch.Tensor | None = None
    """Of the fused kernels."""
    used: list[bool] = field(default_factory=list)

    def filter(self, kernel: torch.Tensor, *, gate: torch.Tensor | None = None) -> torch.Tensor:
        """`adaptive_conv` of the maps by a kernel [N, C, K] and a gate [N, C, T] → [N·T, C, H, W].

        Raises:
            ValueError: these maps were filtered already.
        """
        if self.used:
            raise ValueError("one filter for one squeeze: take the maps in again")
        self.used.append(True)
        if self.messages is not None:
            from tanet.ops.squeeze_filter.triton_autograd import filter_taken

            return filter_taken(self.x, self.messages, kernel, gate, self.scale, self.shift, self.act)
        return adaptive_conv(self.x, kernel, gate=gate, scale=self.scale, shift=self.shift, act=self.act)


def take_in(
    x: torch.Tensor, *, frames: int, taps: int, gated: bool, norm: Norm | None = None, act: Act = "none"
) -> Taken:
    """Squeeze maps [N·T, C, H, W] that are then to be filtered.

    Args:
        x: what enters the norm.
        frames: T.
        taps: K of the kernel to come.
        gated: whether a gate will come with it.
        norm: before the activation; None for none.
        act: the activation.
    """
    if implementation(x, taps=taps, frames=frames) == "triton":
        from tanet.ops.squeeze_filter.triton_autograd import squeeze_taken

        x, s, scale, shift, messages = squeeze_taken(
            x, frames=frames, taps=taps, gated=gated, norm=norm, act=act
        )
        return Taken(x, s, scale, shift, act, messages)
    scale, shift = (None, None) if norm is None else norm.scale_and_shift()
    return Taken(x, squeeze(activate(x, scale=scale, shift=shift, act=act)), scale, shift, act)

"""Squeeze feature maps, then filter them with kernels and gates computed from the squeeze, as in TAM.

    a = act(scale · X + shift)             the BatchNorm and activation before TAM, absorbed
    s = mean of a over H, W                (eq. 1); the kernel and gate are computed from s
    Y = Σ_k Θ_k shift_k(gate · a)          `adaptive_conv`

On a GPU, the squeeze, the filter and the moments (from which scale and shift are computed) share one backward
pass (triton_autograd.py).
"""

from dataclasses import dataclass, field

import torch

from tanet.ops.adaptive_convolution.op import adaptive_conv
from tanet.ops.common.batch_norm import BatchNormValues
from tanet.ops.common.dispatch import Activation, Backend, activate, backend_for
from tanet.ops.common.filter_inputs import FilterInputs
from tanet.ops.pooling.op import squeeze


@dataclass(frozen=True)
class SqueezedMaps:
    """Maps, their squeeze and the inputs of the filter. The maps can be filtered only once.

    Use `x` only through `filter`: on a GPU, its "gradient" is not a gradient but a message to the backward
    pass of the squeeze.
    """

    x: torch.Tensor
    s: torch.Tensor
    """The squeeze, rows [N·T, C]."""
    scale: torch.Tensor | None
    shift: torch.Tensor | None
    act: Activation
    messages: torch.Tensor | None = None
    """Uninitialised tensor whose "gradient" carries gate and kernel to the squeeze's backward."""
    used: list[bool] = field(default_factory=list)

    def filter(self, kernel: torch.Tensor, *, gate: torch.Tensor | None = None) -> torch.Tensor:
        """Filter the maps with a kernel [N, C, K] and a gate [N, C, T] → [N·T, C, H, W]; see `adaptive_conv`.

        Raises:
            ValueError: these maps have been filtered before.
        """
        if self.used:
            raise ValueError("these maps were already filtered: call squeeze_maps again before each filter")
        self.used.append(True)
        if self.messages is not None:
            from tanet.ops.squeeze_filter.triton_autograd import filter_maps_triton

            inputs = FilterInputs(self.x, kernel, gate, self.scale, self.shift, self.act)
            return filter_maps_triton(inputs, self.messages)
        return adaptive_conv(self.x, kernel, gate=gate, scale=self.scale, shift=self.shift, act=self.act)


def squeeze_maps(
    x: torch.Tensor,
    *,
    frames: int,
    taps: int,
    gated: bool,
    norm: BatchNormValues | None = None,
    act: Activation = "none",
    backend: Backend | None = None,
) -> SqueezedMaps:
    """Squeeze maps [N·T, C, H, W] that will then be filtered.

    Args:
        x: input of the BatchNorm, or of the activation if there is no BatchNorm.
        frames: T.
        taps: K, the size of the filter's kernel.
        gated: whether the filter will have a gate.
        norm: the BatchNorm before the activation; None if there is none.
        act: the activation.
        backend: the same backend that computed the moments in `norm`; None to choose one.
    """
    if (backend or backend_for(x, taps=taps, frames=frames)) == "triton":
        from tanet.ops.squeeze_filter.triton_autograd import squeeze_maps_triton

        x, s, scale, shift, messages = squeeze_maps_triton(
            x, frames=frames, taps=taps, gated=gated, norm=norm, act=act
        )
        return SqueezedMaps(x, s, scale, shift, act, messages)
    scale, shift = (None, None) if norm is None else norm.scale_and_shift()
    return SqueezedMaps(x, squeeze(activate(x, scale=scale, shift=shift, act=act)), scale, shift, act)

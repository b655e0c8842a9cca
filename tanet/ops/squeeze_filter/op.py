"""Squeeze feature maps, then filter them by kernels and gates made from the squeeze, as TAM does.

    a = act(scale · X + shift)             the BatchNorm and activation before TAM, absorbed
    s = mean of a over H, W                (eq. 1), from which a kernel and a gate are made
    Y = Σ_k Θ_k shift_k(gate · a)          `adaptive_conv`

On a GPU, squeeze, filter and the moments behind scale and shift share one backward pass
(triton_autograd.py).
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
    """Maps, their squeeze, and what the filter needs; one filter for one squeeze.

    Use `x` only for `filter`: on a GPU its "gradient" is not a gradient but a parcel for the squeeze's
    backward pass.
    """

    x: torch.Tensor
    s: torch.Tensor
    """Rows [N·T, C]."""
    scale: torch.Tensor | None
    shift: torch.Tensor | None
    act: Activation
    messages: torch.Tensor | None = None
    """Empty tensor that carries gate and kernel back to the squeeze; of the fused kernels only."""
    used: list[bool] = field(default_factory=list)

    def filter(self, kernel: torch.Tensor, *, gate: torch.Tensor | None = None) -> torch.Tensor:
        """Filter the maps by a kernel [N, C, K] and a gate [N, C, T] → [N·T, C, H, W]; see `adaptive_conv`.

        Raises:
            ValueError: these maps were filtered already.
        """
        if self.used:
            raise ValueError("one filter for one squeeze: squeeze the maps again")
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
    """Squeeze maps [N·T, C, H, W] that are filtered afterwards.

    Args:
        x: what enters the BatchNorm.
        frames: T.
        taps: K of the filter's kernel.
        gated: whether the filter will have a gate.
        norm: the BatchNorm before the activation; None for none.
        act: the activation.
        backend: what computes; it must be what computed the moments in `norm`. None chooses.
    """
    if (backend or backend_for(x, taps=taps, frames=frames)) == "triton":
        from tanet.ops.squeeze_filter.triton_autograd import squeeze_maps_triton

        x, s, scale, shift, messages = squeeze_maps_triton(
            x, frames=frames, taps=taps, gated=gated, norm=norm, act=act
        )
        return SqueezedMaps(x, s, scale, shift, act, messages)
    scale, shift = (None, None) if norm is None else norm.scale_and_shift()
    return SqueezedMaps(x, squeeze(activate(x, scale=scale, shift=shift, act=act)), scale, shift, act)

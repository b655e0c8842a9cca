"""Squeeze feature maps, then filter them with kernels and gates computed from the squeeze, as in TAM.

    a = act(scale · X + shift)             the BatchNorm and the activation before TAM
    s = mean of a over H and W             the squeeze (eq. 1); TAM computes kernel Θ and gate from s
    Y = Σ_k Θ_k shift_k(gate · a)          the filter, `adaptive_conv`

On a GPU, one backward pass over the maps computes the gradient of X for the squeeze, the filter and the
moments together (triton_autograd.py). The moments are the mean and variance from which scale and shift are
computed.
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
    """Result of `squeeze_maps`: the maps, their squeeze, and the settings for filtering the maps.

    The maps can be filtered only once. Do not use `x` except by calling `filter`. On a GPU, autograd carries
    other data in place of the gradient of `x`: the data that the squeeze's backward pass needs.
    """

    x: torch.Tensor
    s: torch.Tensor
    """The squeeze [N·T, C], that is, the mean of each map after the activation."""
    scale: torch.Tensor | None
    shift: torch.Tensor | None
    act: Activation
    messages: torch.Tensor | None = None
    """Uninitialised tensor. In place of its gradient, autograd carries gate and kernel to the squeeze's
    backward pass. None if the backend is not Triton."""
    used: list[bool] = field(default_factory=list)

    def filter(self, kernel: torch.Tensor, *, gate: torch.Tensor | None = None) -> torch.Tensor:
        """Filter the maps with a kernel [N, C, K] and a gate [N, C, T]. Return [N·T, C, H, W].

        See `adaptive_conv`.

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
    """Squeeze maps [N·T, C, H, W]. Call `filter` of the result to filter the same maps.

    Args:
        x: input of the BatchNorm, or of the activation if there is no BatchNorm.
        frames: T, the number of frames per clip.
        taps: K, the size of the filter's kernel.
        gated: whether the filter will have a gate.
        norm: the BatchNorm before the activation; None if there is none.
        act: the activation.
        backend: backend of the squeeze and the filter. If `moments` computed the values in `norm`, pass the
            backend that `moments` used. None to choose a backend.
    """
    if (backend or backend_for(x, taps=taps, frames=frames)) == "triton":
        from tanet.ops.squeeze_filter.triton_autograd import squeeze_maps_triton

        x, s, scale, shift, messages = squeeze_maps_triton(
            x, frames=frames, taps=taps, gated=gated, norm=norm, act=act
        )
        return SqueezedMaps(x, s, scale, shift, act, messages)
    scale, shift = (None, None) if norm is None else norm.scale_and_shift()
    return SqueezedMaps(x, squeeze(activate(x, scale=scale, shift=shift, act=act)), scale, shift, act)

"""Squeeze and filter of the same maps with a single backward pass over the maps; see op.py.

With plain autograd, the filter, the squeeze and the moments would each compute a gradient of the maps.
Autograd would then add up the three gradients. In total, this would take nine passes over maps.

Here the squeeze's backward pass computes the sum of the three gradients in one pass over the maps. The
squeeze's backward pass runs last, when the gradients of the squeeze s and of the moments are known. It also
needs the filter's dY, gate and kernel. The filter's backward pass returns these tensors *in place of*
gradients: dY replaces the gradient of the maps, and gate and kernel replace the gradient of an uninitialised
tensor, the message tensor. Autograd carries all three tensors to the squeeze's backward pass.
"""

from typing import Any

import torch

from tanet.ops.adaptive_convolution.triton_backward_maps import adaptive_conv_dx
from tanet.ops.adaptive_convolution.triton_backward_sums import gradients
from tanet.ops.adaptive_convolution.triton_forward import adaptive_conv_triton
from tanet.ops.common.batch_norm import BatchNormValues
from tanet.ops.common.dispatch import Activation
from tanet.ops.common.filter_inputs import FilterInputs
from tanet.ops.pooling.triton_kernels import squeeze_parts

Gradients = tuple[torch.Tensor | None, ...]


def squeeze_maps_triton(
    x: torch.Tensor, *, frames: int, taps: int, gated: bool, norm: BatchNormValues | None, act: Activation
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, torch.Tensor | None, torch.Tensor]:
    """Run `squeeze_maps` on a GPU. Return x, s, the BatchNorm's scale and shift, and the message tensor.

    The message tensor is explained at the top of this file.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    weights = (None, None, None, None, 0.0, False) if norm is None else tuple(norm)
    s, x, messages, *affine = _Squeeze.apply(x, *weights, frames, taps, gated, act)  # type: ignore[misc]
    scale, shift = affine or (None, None)
    return x, s, scale, shift, messages


def filter_maps_triton(inputs: FilterInputs, messages: torch.Tensor) -> torch.Tensor:
    """Run `SqueezedMaps.filter` on a GPU, on the tensors that `squeeze_maps_triton` returned."""
    return _Filter.apply(inputs.x, messages, *inputs[1:])  # type: ignore[return-value]


class _Squeeze(torch.autograd.Function):
    """Autograd function from x and the values of a BatchNorm to s, x, the message tensor, scale and shift.

    The message tensor is explained at the top of this file.
    """

    @staticmethod
    def forward(ctx: Any, x, weight, bias, mean, var, eps, of_batch, frames, taps, gated, act):
        scale = shift = None
        if weight is not None:
            scale, shift = BatchNormValues(weight, bias, mean, var, eps, of_batch).scale_and_shift()
        parts = squeeze_parts(x, scale, shift, act)
        straight, open_, rest = parts.unbind()  # [N·T, C] each
        s = straight + rest if scale is None else scale * straight + shift * open_ + rest
        ctx.eps, ctx.of_batch, ctx.taps, ctx.act = eps, of_batch, taps, act
        ctx.save_for_backward(x, weight, bias, mean, var, scale, shift, parts)
        count = (frames if gated else 0) + taps
        messages = x.new_empty((x.shape[0] // frames, count, x.shape[1]), dtype=torch.float32)
        # Call `to` only if the dtype changes: with the same dtype, `to` returns s itself.
        # If `to` returns s itself, code compiled by torch 2.11 returns s twice and loses the gradient of s.
        rows = s if x.dtype == s.dtype else s.to(x.dtype)
        outputs = rows, x.view_as(x), messages
        return outputs if scale is None else (*outputs, scale, shift)

    @staticmethod
    def backward(ctx: Any, ds, dy, messages, d_scale=None, d_shift=None) -> Gradients:
        x, weight, bias, mean, var, scale, shift, (straight, open_, _) = ctx.saved_tensors
        ds = ds.float()
        gate, kernel = messages.split((messages.shape[1] - ctx.taps, ctx.taps), dim=1)
        d_weight = d_bias = slope = offset = None
        if scale is not None:
            d_scale = d_scale + (ds * straight).sum(0)
            d_shift = d_shift + (ds * open_).sum(0)
            r = (var + ctx.eps).rsqrt()
            d_bias, d_weight = d_shift, r * (d_scale - mean * d_shift)
            if ctx.of_batch:
                count = x.numel() // x.shape[1]
                slope = -weight * r * r * d_weight / count
                offset = -scale * d_bias / count - slope * mean
            d_weight, d_bias = d_weight.to(weight.dtype), d_bias.to(bias.dtype)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = adaptive_conv_dx(
                dy,
                x,
                kernel.mT,
                gate.mT if gate.shape[1] else None,
                scale,
                shift,
                ctx.act,
                ds / (x.shape[2] * x.shape[3]),
                slope,
                offset,
            )
        return dx, d_weight, d_bias, *[None] * 8


class _Filter(torch.autograd.Function):
    """Autograd function for `adaptive_conv`, whose backward pass returns data for `_Squeeze`.

    The data takes the place of the gradients of the maps and of the message tensor, as explained at the top
    of this file.
    """

    @staticmethod
    def forward(ctx: Any, x, _, kernel, gate, scale, shift, act):
        ctx.act = act
        ctx.save_for_backward(x, kernel, gate, scale, shift)
        return adaptive_conv_triton(x, kernel, gate, scale, shift, act)

    @staticmethod
    def backward(ctx: Any, dy) -> Gradients:
        x, kernel, gate, scale, shift = ctx.saved_tensors
        dy = dy.contiguous(memory_format=torch.channels_last)
        weights = [kernel.mT] if gate is None else [gate.mT, kernel.mT]
        messages = torch.cat([tensor.float() for tensor in weights], 1)
        return dy, messages, *gradients(dy, FilterInputs(x, kernel, gate, scale, shift, ctx.act)), None

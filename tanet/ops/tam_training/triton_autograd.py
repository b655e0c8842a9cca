"""The branches of TAM in training mode with gradients: gate and kernel from the squeeze."""

from typing import Any

import torch

from tanet.ops.tam_training.triton_forward import branches_triton
from tanet.ops.tam_training.triton_gradients import branches_gradients_triton


class Branches(torch.autograd.Function):
    """Autograd function for the branches of TAM. It returns the gate, the kernel, and the four statistics."""

    @staticmethod
    def forward(ctx: Any, s, frames, g_eps, l_eps, *weights: torch.Tensor) -> tuple[torch.Tensor, ...]:  # type: ignore[override]
        """Compute gate and kernel."""
        g, l = list(weights[:4]), list(weights[4:])  # noqa: E741
        outputs = branches_triton(s, frames, g, g_eps, l, l_eps)
        ctx.g_eps, ctx.l_eps = g_eps, l_eps
        ctx.save_for_backward(s, *outputs, *weights)
        gate, kernel, _, *statistics = outputs
        ctx.mark_non_differentiable(*statistics)
        return gate, kernel, *statistics

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        """Compute the gradients of s and the weights."""
        s, *rest = ctx.saved_tensors
        outputs, g, l = rest[:7], rest[7:11], rest[11:]  # noqa: E741
        given = (*gradients[:2], s, outputs, g, ctx.g_eps, l, ctx.l_eps)
        ds, *others = branches_gradients_triton(*given)
        weights = [d.to(weight.dtype) for d, weight in zip(others, (*g, *l), strict=True)]
        return ds, None, None, None, *weights

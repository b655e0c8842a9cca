"""The branches of TAM in training mode: gate and kernel from the squeeze, with the batch's statistics."""

from typing import Any

import torch


@torch.library.custom_op("tanet::branches", mutates_args=())
def branches(
    s: torch.Tensor,
    frames: int,
    prior: torch.Tensor | None,
    g: list[torch.Tensor],
    g_eps: float,
    l: list[torch.Tensor],  # noqa: E741
    l_eps: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Compute gate and kernel of TAM with Triton, without gradients.

    Args:
        s: squeeze [N·T, C]. Its data type is that of the matrix products' factors, except in the last layer
            of the global branch.
        frames: T.
        prior: P [C, K], added to the logits of the kernel, or None.
        g: weights of the global branch: first layer [αT, T]; weight and bias of the BatchNorm; last layer
            [K, αT].
        g_eps: eps of the global branch's BatchNorm.
        l: weights of the local branch: first layer [C/β, C, taps]; BatchNorm as for `g`; last layer
            [C, C/β, 1].
        l_eps: eps of the local branch's BatchNorm.

    Returns:
        All in float32: the gate [N, T, C] and the kernel [N, K, C]; the output of the local branch's first
        layer [N·T, C/β]; mean and biased variance of the global branch [αT] and of the local one [C/β].
    """
    from tanet.ops.tam_training.triton_forward import branches_triton

    weights = [[weight.contiguous() for weight in branch] for branch in (g, l)]
    return branches_triton(s.contiguous(), frames, prior, weights[0], g_eps, weights[1], l_eps)  # type: ignore[return-value]


@branches.register_fake
def _(s, frames, prior, g, g_eps, l, l_eps):  # noqa: E741
    images, channels = s.shape
    clips, width, hidden = images // frames, g[0].shape[0], l[0].shape[0]
    shapes = [(clips, frames, channels), (clips, g[3].shape[0], channels), (images, hidden)]
    shapes += [(width,), (width,), (hidden,), (hidden,)]
    return tuple(torch.empty(shape, dtype=torch.float32, device=s.device) for shape in shapes)


@torch.library.custom_op("tanet::branches_gradients", mutates_args=())
def branches_gradients(
    d_gate: torch.Tensor,
    d_kernel: torch.Tensor,
    s: torch.Tensor,
    outputs: list[torch.Tensor],
    prior: torch.Tensor | None,
    g: list[torch.Tensor],
    g_eps: float,
    l: list[torch.Tensor],  # noqa: E741
    l_eps: float,
) -> list[torch.Tensor]:
    """Compute the gradients of `branches`.

    Args:
        d_gate: gradient of the gate, [N, T, C].
        d_kernel: gradient of the kernel, [N, K, C].
        s: as for `branches`.
        outputs: what `branches` returned.
        prior, g, g_eps, l, l_eps: as for `branches`.

    Returns:
        The gradient of s in its dtype, and in float32 those of the prior (zeros if there is none), of the
        four weights in `g`, and of the four weights in `l`.
    """
    from tanet.ops.tam_training.triton_gradients import branches_gradients_triton

    weights = [[weight.contiguous() for weight in branch] for branch in (g, l)]
    given = (d_gate, d_kernel, s.contiguous(), outputs, prior, weights[0], g_eps, weights[1], l_eps)
    return list(branches_gradients_triton(*given))


@branches_gradients.register_fake
def _(d_gate, d_kernel, s, outputs, prior, g, g_eps, l, l_eps):  # noqa: E741
    taps, channels = outputs[1].shape[1:]
    new = {"dtype": torch.float32, "device": s.device}
    d_prior = torch.empty(channels, taps, **new)
    return [torch.empty_like(s), d_prior, *(torch.empty(w.shape, **new) for w in (*g, *l))]


class Branches(torch.autograd.Function):
    """Autograd function for `branches`. It returns the gate, the kernel, and the four statistics."""

    @staticmethod
    def forward(ctx: Any, s, frames, g_eps, l_eps, prior, *weights: torch.Tensor) -> tuple[torch.Tensor, ...]:  # type: ignore[override]
        """Compute gate and kernel."""
        g, l = list(weights[:4]), list(weights[4:])  # noqa: E741
        outputs = branches(s, frames, prior, g, g_eps, l, l_eps)
        ctx.frames, ctx.g_eps, ctx.l_eps, ctx.prior = frames, g_eps, l_eps, prior is not None
        ctx.save_for_backward(s, *outputs, *weights, *([] if prior is None else [prior]))
        gate, kernel, _, *statistics = outputs
        ctx.mark_non_differentiable(*statistics)
        return gate, kernel, *statistics

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        """Compute the gradients of s, the prior and the weights."""
        s, *rest = ctx.saved_tensors
        outputs, g, l = rest[:7], rest[7:11], rest[11:15]  # noqa: E741
        prior = rest[15] if ctx.prior else None
        given = (*gradients[:2], s, outputs, prior, g, ctx.g_eps, l, ctx.l_eps)
        ds, d_prior, *others = branches_gradients(*given)
        weights = [d.to(weight.dtype) for d, weight in zip(others, (*g, *l), strict=True)]
        return ds, None, None, None, d_prior.to(prior.dtype) if prior is not None else None, *weights

"""The branches of TAM in training mode on a GPU: four kernels instead of about forty."""

import torch
from torch import nn

from tanet.models.temporal.absorbed_norm import update_statistics
from tanet.models.temporal.tam_branches import FrameConv
from tanet.ops import backend_for
from tanet.ops.common.dispatch import MAX_TAPS

MAX_WIDTH = 128  # hidden units of the global branch; more would not fit into a program's registers


def fits(g: nn.Sequential, l: nn.Sequential, s: torch.Tensor, *, frames: int) -> bool:  # noqa: E741
    """Return whether `train_branches` can compute the branches G and L for the squeeze s [N·T, C]."""
    first = l[0]
    assert isinstance(first, FrameConv)
    taps, (width, outputs) = first.kernel_size[0], (g[0].out_features, g[3].out_features)
    return (
        backend_for(s, taps=int(outputs), frames=frames) == "triton"  # type: ignore[arg-type]
        and taps <= MAX_TAPS
        and width <= MAX_WIDTH  # type: ignore[operator]
        and s.shape[0] > 1
        and all(_trains(branch[1]) for branch in (g, l))
    )


def _trains(norm: nn.Module) -> bool:
    """Return whether a BatchNorm uses the statistics of the batch, and has weights and momentum."""
    return (
        type(norm) is nn.BatchNorm1d
        and norm.training
        and norm.weight is not None
        and norm.running_mean is not None
        and norm.momentum is not None
    )


def train_branches(
    g: nn.Sequential,
    l: nn.Sequential,  # noqa: E741
    s: torch.Tensor,
    *,
    frames: int,
    static: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute gate [N, C, T] and kernel [N, C, K], and update the running statistics of the BatchNorms.

    Args:
        g: global branch; see `fits`.
        l: local branch.
        s: squeeze [N·T, C].
        frames: T.
        static: static kernel S [C, K], or None.
    """
    from tanet.ops.tam_training.triton_autograd import Branches  # needs Triton

    norms = g[1], l[1]
    assert isinstance(norms[0], nn.BatchNorm1d) and isinstance(norms[1], nn.BatchNorm1d)
    weights = [
        weight
        for (first, norm, _, last, *_) in (g, l)
        for weight in (first.weight, norm.weight, norm.bias, last.weight)
    ]
    gate, kernel, *statistics = Branches.apply(s, frames, norms[0].eps, norms[1].eps, *weights)  # type: ignore[misc]
    images, channels = s.shape
    update_statistics(norms[0], *statistics[:2], count=images // frames * channels)
    update_statistics(norms[1], *statistics[2:], count=images)
    if static is not None:
        kernel = kernel + static.mT  # not in place: the backward pass needs the adaptive kernel
    return gate.mT, kernel.mT

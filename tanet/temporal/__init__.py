"""Temporal modules: nn.Modules [N·T, C, H, W] → the same shape, T fixed at construction."""

from collections.abc import Callable

from torch import nn

from tanet.recipe import Model
from tanet.temporal.tam import TAM

__all__ = ["TAM", "TEMPORAL", "maker"]


def _tam(channels: int, model: Model) -> nn.Module:
    return TAM(
        channels,
        frames=model.frames,
        alpha=model.alpha,
        beta=model.beta,
        kernel=model.kernel,
        local_kernel=model.local_kernel,
        order="tanet-r" if model.temporal == "tanet-r" else "tam",
    )


TEMPORAL: dict[str, Callable[[int, Model], nn.Module] | None] = {
    "none": None,  # the plain 2D network (C2D, TSN): frames meet in the mean of their logits alone
    "tam": _tam,
    "tanet-r": _tam,
}


def maker(model: Model) -> Callable[[int], nn.Module] | None:
    """What builds the model's temporal module for C channels; None for the plain 2D network.

    Raises:
        ValueError: the name is not known; the message lists those that are.
    """
    if model.temporal not in TEMPORAL:
        raise ValueError(f"unknown temporal module '{model.temporal}': known are {', '.join(TEMPORAL)}")
    make = TEMPORAL[model.temporal]
    return None if make is None else lambda channels: make(channels, model)

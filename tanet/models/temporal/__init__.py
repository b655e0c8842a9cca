"""Temporal modules: nn.Modules [N·T, C, H, W] → the same shape, T fixed at construction.

TEMPORAL names them, with the place where each stands. A module that filters along time by K taps outside of
its children says so by its attribute `taps`: the multiply-adds for each element that comes out. (A mean
has no weights, and is counted as nothing, as the paper does it.)
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from tanet.models.insertion.sites import Place, Site, sites
from tanet.models.temporal.non_local import NonLocal
from tanet.models.temporal.tam import TAM
from tanet.models.temporal.tam_ablations import GlobalBranch, GlobalSE, LocalBranch
from tanet.models.temporal.tei import TEI
from tanet.models.temporal.temporal_aggregation import TemporalAggregation
from tanet.models.temporal.temporal_conv import SideTaps, TemporalConv, TemporalPool
from tanet.models.temporal.temporal_shift import TemporalShift
from tanet.recipes.recipe import Model

__all__ = ["TAM", "TEMPORAL", "Temporal", "entry", "locate"]


@dataclass(frozen=True)
class Temporal:
    """A temporal module: its place, and how it is made for a site."""

    place: Place
    """Its own place; a recipe's `position` other than auto moves those that stand in a block."""
    make: Callable[[Site, Model], nn.Module]


def _tam(site: Site, model: Model) -> nn.Module:
    return TAM(
        site.channels,
        frames=model.frames,
        alpha=model.alpha,
        beta=model.beta,
        kernel=model.kernel,
        local_kernel=model.local_kernel,
        identity=model.identity,
        order="tanet-r" if model.temporal == "tanet-r" else "tam",
    )


def _side_taps(site: Site, model: Model) -> nn.Module:
    if not isinstance(site.module, nn.Conv2d):
        raise ValueError(
            f"{site.name} is a {type(site.module).__name__}, and only a convolution can be inflated"
        )
    return SideTaps(site.module, frames=model.frames, kernel=model.kernel)


def _local(site: Site, model: Model) -> nn.Module:
    return LocalBranch(site.channels, frames=model.frames, beta=model.beta, local_kernel=model.local_kernel)


def _global(_: Site, model: Model) -> nn.Module:
    return GlobalBranch(frames=model.frames, alpha=model.alpha, kernel=model.kernel, identity=model.identity)


def _global_se(site: Site, model: Model) -> nn.Module:
    return GlobalSE(
        site.channels,
        frames=model.frames,
        alpha=model.alpha,
        kernel=model.kernel,
        identity=model.identity,
    )


# The plain 2D network (C2D, TSN) has none: its frames meet in the mean of their logits alone.
TEMPORAL: dict[str, Temporal | None] = {
    "none": None,
    "pool": Temporal("b", lambda _, model: TemporalPool(frames=model.frames, kernel=model.kernel)),
    "tconv": Temporal(
        "b", lambda site, model: TemporalConv(site.channels, frames=model.frames, kernel=model.kernel)
    ),
    "tsm": Temporal("a", lambda _, model: TemporalShift(frames=model.frames)),
    "tei": Temporal("b", lambda site, model: TEI(site.channels, frames=model.frames)),
    "i3d": Temporal("beside", _side_taps),
    "nonlocal": Temporal("block", lambda site, model: NonLocal(site.channels, frames=model.frames)),
    "global": Temporal("b", _global),
    "local": Temporal("b", _local),
    "global+se": Temporal("b", _global_se),
    "tanet-r": Temporal("b", _tam),
    "tam": Temporal("b", _tam),
    "tam-ibm": Temporal("a", lambda site, model: TemporalAggregation(site.channels, frames=model.frames)),
}


def entry(name: str) -> Temporal | None:
    """The temporal module of a name; None for the plain 2D network.

    Raises:
        ValueError: the name is not known; the message lists those that are.
    """
    if name not in TEMPORAL:
        raise ValueError(f"unknown temporal module '{name}': known are {', '.join(TEMPORAL)}")
    return TEMPORAL[name]


def locate(network: nn.Module, model: Model, *, place: Place) -> list[Site]:
    """The sites of a 2D network where the model's temporal module stands, its own place being `place`.

    Raises:
        ValueError: the network has no such place, or the model asks for a position that the module can't
        take.
    """
    if place == "block":
        _keep_place(model, "after every other block of res3 and res4")
        blocks = sites(network, place="block")
        alternate = [
            site for stage in ("res3", "res4") for site in [s for s in blocks if s.stage == stage][::2]
        ]
        return [site for site in alternate if site.stage in model.stages]
    if place == "beside":
        _keep_place(model, "beside a block's first convolution")
        return sites(network, place="beside", stages=model.stages)
    return sites(network, place=place if model.position == "auto" else model.position, stages=model.stages)


def _keep_place(model: Model, where: str) -> None:
    if model.position != "auto":
        raise ValueError(f"{model.temporal} stands {where}: its position must be auto, not {model.position}")

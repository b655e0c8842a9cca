"""Temporal modules, which combine the frames of a clip: [N·T, C, H, W] → the same shape (except SideTaps).

The number of frames T is fixed at construction. The dict TEMPORAL lists all temporal modules by name.
`tanet cost` counts the multiply-adds of all convolutions and linear layers. If a module also filters along
time in its own forward pass, its attribute `taps` gives the multiply-adds of this filter per output element,
and `tanet cost` adds these multiply-adds. (A mean over frames has no weights and is not counted, as in the
paper.)
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from tanet.errors import UserError
from tanet.models.insertion.sites import Placement, Site, find_sites
from tanet.models.temporal.non_local import NonLocal
from tanet.models.temporal.tam import TAM
from tanet.models.temporal.tam_ablations import GlobalBranch, GlobalSE, LocalBranch
from tanet.models.temporal.tei import TEI
from tanet.models.temporal.temporal_aggregation import TemporalAggregation
from tanet.models.temporal.temporal_conv import SideTaps, TemporalConv, TemporalPool
from tanet.models.temporal.temporal_shift import TemporalShift
from tanet.recipes.recipe import Network2D

__all__ = ["TAM", "TEMPORAL", "TemporalModule", "find_temporal", "insertion_sites"]


@dataclass(frozen=True)
class TemporalModule:
    """Entry of TEMPORAL: the default place of a temporal module, and the function that builds the module."""

    place: Placement
    """Default place (see insertion/sites.py). If it is "a", "b", "c" or "d", a recipe's `position` can choose
    another of these four. "beside" and "block" are fixed."""
    make: Callable[[Site, Network2D], nn.Module]


def _tam(site: Site, model: Network2D) -> nn.Module:
    return TAM(
        site.channels,
        frames=model.frames,
        alpha=model.alpha,
        beta=model.beta,
        kernel=model.kernel,
        local_kernel=model.local_kernel,
        center_tap_bias=model.center_tap_bias,
        order="tanet-r" if model.temporal == "tanet-r" else "tam",
    )


def _side_taps(site: Site, model: Network2D) -> nn.Module:
    if not isinstance(site.module, nn.Conv2d):
        raise UserError(f"{site.name} is a {type(site.module).__name__}: only a convolution can be inflated")
    return SideTaps(site.module, frames=model.frames, kernel=model.kernel)


def _shift(site: Site, model: Network2D) -> nn.Module:
    if site.channels < model.shift_div:
        raise UserError(
            f"model.shift_div {model.shift_div} shifts none of the {site.channels} channels of {site.name}: "
            "choose a smaller value"
        )
    return TemporalShift(frames=model.frames, divisor=model.shift_div)


def _local(site: Site, model: Network2D) -> nn.Module:
    return LocalBranch(site.channels, frames=model.frames, beta=model.beta, local_kernel=model.local_kernel)


def _global(_: Site, model: Network2D) -> nn.Module:
    return GlobalBranch(
        frames=model.frames, alpha=model.alpha, kernel=model.kernel, center_tap_bias=model.center_tap_bias
    )


def _global_se(site: Site, model: Network2D) -> nn.Module:
    return GlobalSE(
        site.channels,
        frames=model.frames,
        alpha=model.alpha,
        kernel=model.kernel,
        center_tap_bias=model.center_tap_bias,
    )


# "none" is the plain 2D network (C2D, TSN), which combines frames only by averaging their logits.
TEMPORAL: dict[str, TemporalModule | None] = {
    "none": None,
    "pool": TemporalModule("b", lambda _, model: TemporalPool(frames=model.frames, kernel=model.kernel)),
    "tconv": TemporalModule(
        "b", lambda site, model: TemporalConv(site.channels, frames=model.frames, kernel=model.kernel)
    ),
    "tsm": TemporalModule("a", _shift),
    "tei": TemporalModule("b", lambda site, model: TEI(site.channels, frames=model.frames)),
    "i3d": TemporalModule("beside", _side_taps),
    "nonlocal": TemporalModule("block", lambda site, model: NonLocal(site.channels, frames=model.frames)),
    "global": TemporalModule("b", _global),
    "local": TemporalModule("b", _local),
    "global+se": TemporalModule("b", _global_se),
    "tanet-r": TemporalModule("b", _tam),
    "tam": TemporalModule("b", _tam),
    "tam-ibm": TemporalModule(
        "a", lambda site, model: TemporalAggregation(site.channels, frames=model.frames)
    ),
}


def find_temporal(name: str) -> TemporalModule | None:
    """Return the temporal module with this name. For "none", the plain 2D network, return None.

    Raises:
        UserError: the name is unknown. The message lists the known names.
    """
    if name not in TEMPORAL:
        raise UserError(f"unknown temporal module '{name}': choose from {', '.join(TEMPORAL)}")
    return TEMPORAL[name]


def insertion_sites(network: nn.Module, model: Network2D, *, place: Placement) -> list[Site]:
    """Return the places (sites) in a 2D network where the model's temporal module is inserted.

    Args:
        network: the 2D network.
        model: settings. `position` replaces `place` unless it is "auto"; `stages` and `blocks` select blocks.
        place: default place of the temporal module.

    Raises:
        UserError: the network does not have this place, or `position` is not "auto" but the place of the
            temporal module cannot be replaced, or no block has a shortcut but `blocks` asks for one.
    """
    found = _sites_in_stages(network, model, place=place)
    if model.blocks == "all":
        return found
    if chosen := [site for site in found if site.shortcut]:
        return chosen
    raise UserError(
        f"{model.backbone} has no block with a shortcut in {', '.join(model.stages)}: "
        "choose --model.blocks all"
    )


def _sites_in_stages(network: nn.Module, model: Network2D, *, place: Placement) -> list[Site]:
    if place == "block":
        _keep_place(model, "after every other block of res3 and res4")
        blocks = find_sites(network, place="block")
        alternate = [
            site for stage in ("res3", "res4") for site in [s for s in blocks if s.stage == stage][::2]
        ]
        return [site for site in alternate if site.stage in model.stages]
    if place == "beside":
        _keep_place(model, "beside a block's first convolution")
        return find_sites(network, place="beside", stages=model.stages)
    return find_sites(
        network, place=place if model.position == "auto" else model.position, stages=model.stages
    )


def _keep_place(model: Network2D, where: str) -> None:
    if model.position != "auto":
        raise UserError(
            f"{model.temporal} is placed {where}: its position must be auto, not {model.position}"
        )

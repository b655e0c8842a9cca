"""Temporal modules, which combine the frames of a clip: [N·T, C, H, W] → the same shape (except SideTaps).

The number of frames T is fixed at construction. The dict TEMPORAL lists all temporal modules by name.
`tanet cost` counts the multiply-adds of all convolutions and linear layers. If a module also filters along
time in its own forward pass, its attribute `taps` gives the multiply-adds of this filter per output element,
and `tanet cost` adds these multiply-adds. (A mean over frames has no weights and is not counted, as in the
paper.)
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from tanet.errors import UserError
from tanet.models.insertion.sites import Placement, Site, find_sites
from tanet.models.temporal.gst import GroupedConv
from tanet.models.temporal.non_local import NonLocal
from tanet.models.temporal.online_shift import OnlineShift
from tanet.models.temporal.stm import STM
from tanet.models.temporal.tada import Calibration, PooledNorm
from tanet.models.temporal.tam import TAM
from tanet.models.temporal.tam_ablations import GlobalBranch, GlobalSE, LocalBranch
from tanet.models.temporal.tam_branches import initial_static_kernel
from tanet.models.temporal.tei import TEI
from tanet.models.temporal.temporal_aggregation import TemporalAggregation
from tanet.models.temporal.temporal_conv import SideTaps, TemporalConv, TemporalPool
from tanet.models.temporal.temporal_shift import TemporalShift
from tanet.recipes.recipe import Network2D

__all__ = ["TAM", "TEMPORAL", "TemporalModule", "find_temporal", "insertions", "temporal_sites"]

Make = Callable[[Site, Network2D], nn.Module]


@dataclass(frozen=True)
class TemporalModule:
    """Entry of TEMPORAL: the default place of a temporal module, and the function that builds the module."""

    place: Placement
    """Default place (see insertion/sites.py). If it is "a" or "b", a recipe's `position` can choose another
    of the places a, b, c, d and input. Other default places are fixed."""
    make: Make
    second: tuple[Placement, Make] | None = None
    """Place and function of a second module in each block, or None. Both places are then fixed."""


def _tam(site: Site, model: Network2D) -> nn.Module:
    return TAM(
        site.channels,
        frames=model.frames,
        alpha=model.alpha,
        beta=model.beta,
        kernel=model.kernel,
        local_kernel=model.local_kernel,
        center_tap_bias=model.center_tap_bias,
        static_kernel=model.static_kernel,
        static_strength=model.static_strength,
        shift_div=model.shift_div,
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
    kind = OnlineShift if model.temporal == "tsm-online" else TemporalShift
    return kind(frames=model.frames, divisor=model.shift_div)


def _local(site: Site, model: Network2D) -> nn.Module:
    return LocalBranch(
        site.channels,
        frames=model.frames,
        beta=model.beta,
        local_kernel=model.local_kernel,
        static=_static_kernel(site, model, center_tap_bias=0.0),
    )


def _global(site: Site, model: Network2D) -> nn.Module:
    return GlobalBranch(
        frames=model.frames,
        alpha=model.alpha,
        kernel=model.kernel,
        center_tap_bias=model.center_tap_bias,
        static=_static_kernel(site, model, center_tap_bias=model.center_tap_bias),
    )


def _static_kernel(site: Site, model: Network2D, *, center_tap_bias: float) -> torch.Tensor | None:
    return initial_static_kernel(
        site.channels,
        model.kernel,
        kind=model.static_kernel,
        strength=model.static_strength,
        shift_div=model.shift_div,
        center_tap_bias=center_tap_bias,
    )


def _global_se(site: Site, model: Network2D) -> nn.Module:
    return GlobalSE(
        site.channels,
        frames=model.frames,
        alpha=model.alpha,
        kernel=model.kernel,
        center_tap_bias=model.center_tap_bias,
    )


def _conv_of(site: Site) -> nn.Conv2d:
    assert isinstance(site.module, nn.Conv2d)  # `find_sites` has checked it
    return site.module


def _gst(site: Site, model: Network2D) -> nn.Module:
    return GroupedConv(_conv_of(site), frames=model.frames, share=model.gst_share, groups=model.gst_groups)


# "none" is the plain 2D network (C2D, TSN), which combines frames only by averaging their logits.
TEMPORAL: dict[str, TemporalModule | None] = {
    "none": None,
    "pool": TemporalModule("b", lambda _, model: TemporalPool(frames=model.frames, kernel=model.kernel)),
    "tconv": TemporalModule(
        "b", lambda site, model: TemporalConv(site.channels, frames=model.frames, kernel=model.kernel)
    ),
    "tsm": TemporalModule("a", _shift),
    "tsm-online": TemporalModule("a", _shift),
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
    "gst": TemporalModule("conv2", _gst),
    "stm": TemporalModule("conv2", lambda site, model: STM(_conv_of(site), frames=model.frames)),
    "tada": TemporalModule(
        "b",
        lambda site, model: Calibration(site.channels, frames=model.frames),
        second=("norm2", lambda site, model: PooledNorm(site.channels, frames=model.frames)),
    ),
}

FIXED: dict[Placement, str] = {
    "block": "after every other block of res3 and res4",
    "beside": "beside a block's first convolution",
    "conv2": "in the place of a block's 3×3 convolution",
}
"""Places that a recipe's `position` cannot change."""


def find_temporal(name: str) -> TemporalModule | None:
    """Return the temporal module with this name. For "none", the plain 2D network, return None.

    Raises:
        UserError: the name is unknown. The message lists the known names.
    """
    if name not in TEMPORAL:
        raise UserError(f"unknown temporal module '{name}': choose from {', '.join(TEMPORAL)}")
    return TEMPORAL[name]


def insertions(network: nn.Module, model: Network2D) -> list[tuple[list[Site], Callable[[Site], nn.Module]]]:
    """Return what is inserted into a 2D network: for each kind of module, its sites and how it is built.

    Args:
        network: the 2D network.
        model: settings. `position` replaces the default place of the temporal module unless it is "auto";
            `stages` and `blocks` select blocks.

    Raises:
        UserError: the temporal module is unknown, the network does not have its place, or two settings
            contradict each other.
    """
    found: list[tuple[list[Site], Callable[[Site], nn.Module]]] = []
    temporal = find_temporal(model.temporal)
    if temporal is not None:
        found.append((temporal_sites(network, model), partial(_make, temporal.make, model)))
        if temporal.second is not None:
            place, make = temporal.second
            found.append((_chosen_sites(network, model, place=place), partial(_make, make, model)))
    if model.non_local != "none":
        if model.temporal == "nonlocal":
            raise UserError("model.temporal nonlocal already adds non-local blocks: set model.non_local none")
        sites = [site for site in _alternate_blocks(network) if site.stage in model.stages]
        if not sites:
            raise UserError(
                "non-local blocks are only in res3 and res4: add one of them to model.stages, or set "
                "model.non_local none"
            )
        found.append((sites, partial(_make, _non_local, model)))
    return found


def temporal_sites(network: nn.Module, model: Network2D) -> list[Site]:
    """Return the places of the model's temporal module in a 2D network; [] for the plain 2D network.

    Raises:
        UserError: as `insertions`.
    """
    temporal = find_temporal(model.temporal)
    if temporal is None:
        return []
    if model.position == "auto":
        return _chosen_sites(network, model, place=temporal.place)
    where = "before conv2 and beside its BatchNorm" if temporal.second else FIXED.get(temporal.place)
    if where:
        raise UserError(
            f"{model.temporal} is placed {where}: its position must be auto, not {model.position}"
        )
    return _chosen_sites(network, model, place=model.position)


def _make(make: Make, model: Network2D, site: Site) -> nn.Module:
    return make(site, model)


def _non_local(site: Site, model: Network2D) -> nn.Module:
    assert model.non_local != "none"
    return NonLocal(site.channels, frames=model.frames, attention=model.non_local)


def _chosen_sites(network: nn.Module, model: Network2D, *, place: Placement) -> list[Site]:
    """Return the sites at a place, in the stages and blocks that the settings select."""
    if place == "block":
        return [site for site in _alternate_blocks(network) if site.stage in model.stages]
    found = find_sites(network, place=place, stages=model.stages)
    if model.blocks == "all":
        return found
    if model.blocks == "alternate":
        return [site for stage in model.stages for site in [s for s in found if s.stage == stage][::2]]
    if chosen := [site for site in found if site.shortcut]:
        return chosen
    raise UserError(
        f"{model.backbone} has no block with a shortcut in {', '.join(model.stages)}: "
        "choose --model.blocks all"
    )


def _alternate_blocks(network: nn.Module) -> list[Site]:
    """Return the sites after every other block of res3 and res4."""
    blocks = find_sites(network, place="block")
    return [site for stage in ("res3", "res4") for site in [s for s in blocks if s.stage == stage][::2]]

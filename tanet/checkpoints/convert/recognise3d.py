"""Recognition of 3D networks: I3D, C2D, SlowOnly, SlowFast and X3D of five codebases.

The names of the weights tell the codebase and the family. The shapes tell depth, width, temporal kernels and
non-local blocks. The clip and the strides do not show; they come from the architecture that fits best, from a
config in the file, or from the user (`network`).
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import torch

from tanet.checkpoints.convert.caffe2_names import is_caffe2, to_pyslowfast
from tanet.checkpoints.convert.file_configs import ClipConfig, read_config
from tanet.checkpoints.convert.layouts import State, to_our_layout, without_split_statistics
from tanet.checkpoints.convert.names3d import TABLES, translated
from tanet.checkpoints.convert.origins import Origin, find_origin
from tanet.checkpoints.weights import state_dict_diff
from tanet.errors import UserError, abbreviate, with_article
from tanet.models.architectures import ARCHITECTURES, Architecture, find_architecture
from tanet.models.factory import build
from tanet.models.video_backbones.resnet3d import temporal_pattern
from tanet.recipes.input_spec import InputSpec
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.networks3d import X3D, InceptionI3D, ResNet3D, SlowFast, SomeBlocks

FAMILIES: dict[str, type[NetworkSettings]] = {
    kind.family: kind for kind in (InceptionI3D, ResNet3D, SlowFast, X3D)
}
TITLES = {
    "inception-i3d": "Inception-I3D",
    "resnet3d": "3D ResNet",
    "slowfast": "SlowFast",
    "x3d": "X3D",
}
STAGES = ("res2", "res3", "res4", "res5")
SHOWN = (
    *("blocks", "fast_blocks", "temporal_blocks", "stem_kernel", "non_local"),
    *("width_factor", "depth_factor"),
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
    state: State, beside: Mapping[str, Any], *, network: str | None = None
) -> Recognised3D | None:
    """Recognise a 3D network; return None for weights of another kind.

    Args:
        state: the weights by name.
        beside: what the file holds beside the weights; configs of PySlowFast and mmaction2 are read.
        network: name of the architecture. None chooses one that fits the weights.

    Raises:
        UserError: a weight is missing, is unexpected or has the wrong shape, or the weights do not fit the
            architecture `network`.
    """
    if is_caffe2(list(state)):
        state = to_pyslowfast(state)
    state = without_split_statistics(state)
    found = find_origin(state)
    if found is None:
        return None
    origin, family = found
    kind = f"{TITLES[family]} of {origin.codebase}"
    ours = _ours(state, origin, family, kind=kind)
    structure = _structure(ours, family, kind=kind)
    name, architecture, others = _architecture(structure, FAMILIES[family], origin, network)
    config = read_config(beside)
    model = _settings(architecture.settings, structure, origin, config)
    classes = ours["head.weight"].shape[0] if "head.weight" in ours else 1
    with torch.device("meta"):
        expected = build(model, classes=classes).state_dict()
    if difference := state_dict_diff(ours, expected):
        raise UserError(
            f"the weights are most similar to {with_article(kind)} ({name}), but not equal; {difference}"
        )
    notes = _notes(name, model, config, others, chosen=network is not None)
    spec = _input_spec(architecture, origin, family, config)
    return Recognised3D(kind, origin, model, spec, classes, ours, notes)


def _ours(state: State, origin: Origin, family: str, *, kind: str) -> State:
    """Return the weights with our names and shapes."""
    tables = TABLES[family]
    table = tables[origin.codebase]
    if family == "resnet3d" and origin.codebase == "pytorchvideo" and "blocks.6.proj.weight" in state:
        table = tables["pytorchvideo, pooled"]
    names, unknown = translated(state, table)
    if unknown:
        raise UserError(f"the weights are those of {with_article(kind)}, but for: {abbreviate(unknown)}")
    if not any(name.startswith("head.") for name in names.values()):
        raise UserError(f"{with_article(kind)} without a classifier cannot be converted")
    ours = {names[theirs]: tensor for theirs, tensor in state.items()}
    return to_our_layout(ours, codebase=origin.codebase, family=family)


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

    def likeness(name: str) -> int:
        settings = known[name].settings
        return sum(getattr(settings, field) == value for field, value in structure.items())

    best = max(known, key=likeness)  # the first of those that are equally similar
    return best, known[best], tuple(name for name in fitting if name != best)


def _misfit(settings: NetworkSettings, structure: dict[str, Any]) -> str:
    """Describe the first setting that the weights show otherwise; return "" if there is none."""
    for field in SHOWN:
        if field in structure and getattr(settings, field) != structure[field]:
            its, weights = _text(getattr(settings, field)), _text(structure[field])
            return f"its {field} is {its}, that of the weights {weights}"
    return ""


def _text(value: object) -> str:
    return (" ".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)


def _settings(
    settings: NetworkSettings, structure: dict[str, Any], origin: Origin, config: ClipConfig
) -> NetworkSettings:
    """Return the settings of the network: those of the architecture, changed by what is known."""
    fields = {field.name for field in dataclasses.fields(settings)}
    known = {**origin.settings, **structure, **config.settings()}
    return dataclasses.replace(settings, **{name: value for name, value in known.items() if name in fields})


def _input_spec(architecture: Architecture, origin: Origin, family: str, config: ClipConfig) -> InputSpec:
    spec = architecture.input_spec
    normalisation = (origin.x3d_input if family == "x3d" else None) or origin.input_spec
    return dataclasses.replace(
        normalisation,
        frame_step=config.frame_step or spec.frame_step,
        resize=config.test_size or spec.resize,
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


def _structure(ours: State, family: str, *, kind: str) -> dict[str, Any]:
    """Return the settings that names and shapes show."""
    try:
        if family == "resnet3d":
            return _resnet3d(ours)
        if family == "slowfast":
            return _slowfast(ours)
        return _x3d(ours) if family == "x3d" else {}
    except (KeyError, IndexError) as error:
        raise UserError(f"the weights are those of {with_article(kind)}, but lack {error}") from error


def _resnet3d(ours: State) -> dict[str, Any]:
    stem = ours["stem.conv.weight"].shape
    kernels = _temporal_kernels(ours, "")
    chosen = []
    for stage in kernels:
        sees = [taps > 1 for taps in stage]
        fits = [which for which in get_args(SomeBlocks) if temporal_pattern(which, len(stage)) == sees]
        if not fits:
            shown = ", ".join(map(str, stage))
            raise UserError(f"a stage has temporal kernels {shown}: neither all, every second nor no block")
        chosen.append(fits[0])
    return {
        "blocks": tuple(map(len, kernels)),
        "width": stem[0],
        "stem_kernel": stem[2],
        "temporal_blocks": tuple(chosen),
        **_non_local(ours, ""),
    }


def _slowfast(ours: State) -> dict[str, Any]:
    slow, fast = _temporal_kernels(ours, "slow."), _temporal_kernels(ours, "fast.")
    seeing = [
        max(sum(taps > 1 for taps in stage) for stage in stages) for stages in zip(slow, fast, strict=True)
    ]
    return {
        "blocks": tuple(map(len, slow)),
        "fast_blocks": tuple(map(len, fast)),
        "temporal_blocks": tuple(seeing),
        "width": ours["slow.stem.conv.weight"].shape[0],
        "lateral_kernel": ours["laterals.0.conv.weight"].shape[2],
        "lateral_norm": "laterals.0.norm.weight" in ours,
        **_non_local(ours, "slow."),
    }


def _x3d(ours: State) -> dict[str, Any]:
    """Return the factors of the published X3D whose widths and depths are those of the weights."""
    shape = (ours["stem.conv_time.weight"].shape[0], len(_block_numbers(ours, "", "res4")))
    known = {(24, 11): (2.0, 2.2), (24, 25): (2.0, 5.0), (32, 25): (2.9, 5.0)}
    if shape not in known:
        raise UserError(f"an X3D of width {shape[0]} with {shape[1]} blocks in res4 is none of XS to XL")
    return dict(zip(("width_factor", "depth_factor"), known[shape], strict=True))


def _temporal_kernels(ours: State, pathway: str) -> list[list[int]]:
    """Return the temporal taps of the first convolution of each block, stage by stage."""
    return [
        [
            ours[f"{pathway}{stage}.{block}.conv1.weight"].shape[2]
            for block in _block_numbers(ours, pathway, stage)
        ]
        for stage in STAGES
    ]


def _block_numbers(ours: State, pathway: str, stage: str) -> list[int]:
    found = {
        int(match[1]) for name in ours if (match := re.match(rf"{re.escape(pathway)}{stage}\.(\d+)\.", name))
    }
    return sorted(found)


def _non_local(ours: State, pathway: str) -> dict[str, Any]:
    """Return the settings of the non-local blocks."""
    pattern = rf"{re.escape(pathway)}(res\d)\.(\d+)\.non_local\.out\.weight"
    matches = [match for name in ours if (match := re.fullmatch(pattern, name))]
    blocks = sorted((match[1], int(match[2])) for match in matches)
    if not blocks:
        return {"non_local": ()}
    has_bias = any(name.endswith(".non_local.out.bias") for name in ours)
    return {
        "non_local": tuple(f"{stage}.{block}" for stage, block in blocks),
        "attention_style": "wang" if has_bias else "mmaction2",
    }

"""Build networks: by name, or from the settings in a recipe.

    create_model("tanet-resnet50", frames=8, classes=174)
    build(Network2D(backbone="mobilenet_v2", temporal="tsm"), classes=10)

`create_model` looks up the settings that belong to a name, and `build` takes the settings directly. The class
of the settings determines the family of networks. Each family has a settings class (recipes/recipe.py) and a
builder function in this file, and does not depend on other families. Network2D is the only family so far.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from tanet.errors import UserError
from tanet.models.backbones2d import BACKBONES, remove_classifier
from tanet.models.insertion.plug import plug_at
from tanet.models.temporal import find_temporal, insertion_sites
from tanet.models.video_net import VideoNet
from tanet.recipes.input_spec import IMAGENET, InputSpec
from tanet.recipes.recipe import Network2D

ARCHITECTURES: dict[str, Network2D] = {
    "c2d-resnet50": Network2D(temporal="none"),
    "c2d-pool-resnet50": Network2D(temporal="pool"),
    "c2d-tconv-resnet50": Network2D(temporal="tconv"),
    "i3d-resnet50": Network2D(temporal="i3d"),
    "nonlocal-resnet50": Network2D(temporal="nonlocal"),
    "tsm-resnet50": Network2D(temporal="tsm"),
    "teinet-resnet50": Network2D(temporal="tei"),
    "tam-ibm-resnet50": Network2D(temporal="tam-ibm"),
    "tanet-r-resnet50": Network2D(temporal="tanet-r"),
    "tanet-resnet18": Network2D(backbone="resnet18"),
    "tanet-resnet34": Network2D(backbone="resnet34"),
    "tanet-resnet50": Network2D(backbone="resnet50"),
    "tanet-resnet101": Network2D(backbone="resnet101"),
    "tanet-resnet152": Network2D(backbone="resnet152"),
    "tanet-resnext50": Network2D(backbone="resnext50_32x4d"),
    "tanet-mobilenet-v2": Network2D(backbone="mobilenet_v2"),
    "tanet-shufflenet-v2": Network2D(backbone="shufflenet_v2_x1_0"),
    "tanet-inception-v3": Network2D(backbone="inception_v3"),
    "tsm-mobilenet-v2": Network2D(backbone="mobilenet_v2", temporal="tsm"),
    "c2d-mobilenet-v2": Network2D(backbone="mobilenet_v2", temporal="none"),
}
"""Architectures by name. A recipe may also combine any 2D network with any temporal module."""


def list_models() -> list[str]:
    """List the names that `create_model` accepts."""
    return list(ARCHITECTURES)


def find_architecture(name: str) -> Network2D:
    """Return the settings of an architecture.

    Raises:
        UserError: the name is unknown. The message lists the known names.
    """
    if name not in ARCHITECTURES:
        raise UserError(f"unknown model '{name}': choose from {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def create_model(
    name: str = "",
    *,
    frames: int | None = None,
    classes: int = 400,
    dropout: float | None = None,
    input_spec: InputSpec = IMAGENET,
    backbone: str | None = None,
    temporal: str | None = None,
    position: Literal["auto", "a", "b", "c", "d"] | None = None,
) -> VideoNet:
    """Create a network by its name, with random weights.

    Args:
        name: one of `list_models()`.
        frames: T, frames per clip; None for the architecture's default.
        classes: number of classes.
        dropout: dropout probability before the classifier; None for the architecture's default.
        input_spec: how clips are normalised.
        backbone: deprecated; pass a name, or call `build(Network2D(…))`.
        temporal: deprecated, like `backbone`.
        position: deprecated, like `backbone`.

    Raises:
        UserError: the name is unknown, or a value is not allowed.
    """
    old = {"backbone": backbone, "temporal": temporal, "position": position}
    old = {field: value for field, value in old.items() if value is not None}
    if name and old:
        raise UserError(
            f"create_model: a name cannot be combined with {', '.join(old)}; use build(Network2D(…))"
        )
    if not name:
        warnings.warn(
            'create_model takes a name now: create_model("tanet-resnet50", …); '
            "for other combinations: build(Network2D(backbone=…, temporal=…), classes=…)",
            DeprecationWarning,
            stacklevel=2,
        )
    settings = find_architecture(name) if name else Network2D(**old)  # type: ignore[arg-type]
    if frames is not None:
        settings = replace(settings, frames=frames)
    if dropout is not None:
        settings = replace(settings, dropout=dropout)
    return build(settings, classes=classes, input_spec=input_spec)


def build(model: Network2D, *, classes: int, input_spec: InputSpec = IMAGENET) -> VideoNet:
    """Build a network with random weights from the model section of a recipe. No file is read.

    Args:
        model: settings of the network; their class selects the family of networks.
        classes: number of classes.
        input_spec: how clips are normalised.

    Raises:
        UserError: the backbone, temporal module, position or a stage is unknown, or two settings contradict
            each other.
    """
    if classes < 1:
        raise UserError(f"classes must be positive, not {classes}")
    return BUILDERS[type(model)](model, classes, input_spec)


def _build_2d(model: Network2D, classes: int, input_spec: InputSpec) -> VideoNet:
    """Build a 2D network, remove its classifier and insert temporal modules."""
    if model.backbone not in BACKBONES:
        raise UserError(f"unknown backbone '{model.backbone}': choose from {', '.join(BACKBONES)}")
    backbone = BACKBONES[model.backbone]()
    features = remove_classifier(backbone)
    temporal = find_temporal(model.temporal)
    if temporal is not None:
        chosen = insertion_sites(backbone, model, place=temporal.place)
        plug_at(backbone, chosen, lambda site: temporal.make(site, model))
    return VideoNet(
        backbone,
        features=features,
        frames=model.frames,
        classes=classes,
        dropout=model.dropout,
        input_spec=input_spec,
    )


BUILDERS: dict[type, Callable[[Network2D, int, InputSpec], VideoNet]] = {Network2D: _build_2d}
"""Settings class of a family → the function that builds its networks."""

"""Build networks: by name, or from the settings in a recipe.

    create_model("tanet-resnet50", frames=8, classes=174)
    build(Network2D(backbone="mobilenet_v2", temporal="tsm"), classes=10)

`create_model` looks up the settings that belong to a name, and `build` takes the settings directly. The class
of the settings determines the family of networks. Each family has a settings class (recipes/network2d.py,
recipes/networks3d*.py) and an entry in BUILDERS, and does not depend on other families.
"""

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

from tanet.errors import UserError
from tanet.models.architectures import find_architecture, list_models
from tanet.models.backbones2d import BACKBONES, remove_classifier
from tanet.models.input_channels import set_input_channels
from tanet.models.insertion.plug import plug_all
from tanet.models.network import Network
from tanet.models.relation_net import RelationNet
from tanet.models.temporal import insertions
from tanet.models.video_backbones.artnet import ARTNetNetwork
from tanet.models.video_backbones.blvnet import BLVNetwork
from tanet.models.video_backbones.cpnet import CPNetwork
from tanet.models.video_backbones.csn import CSNNetwork
from tanet.models.video_backbones.eco import ECONetwork
from tanet.models.video_backbones.inception_i3d import InceptionI3DNetwork
from tanet.models.video_backbones.region_graph_net import RegionGraphNetwork
from tanet.models.video_backbones.resnet3d import ResNet3DNetwork
from tanet.models.video_backbones.s3d import S3DNetwork
from tanet.models.video_backbones.slowfast import SlowFastNetwork
from tanet.models.video_backbones.video_resnet import VideoResNetNetwork
from tanet.models.video_backbones.x3d import X3DNetwork
from tanet.models.video_net import VideoNet
from tanet.recipes.input_spec import InputSpec, normalisation_of
from tanet.recipes.network2d import Network2D
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.networks3d import X3D, InceptionI3D, ResNet3D, SlowFast
from tanet.recipes.networks3d_factored import CSN, S3D, ARTNet, VideoResNet
from tanet.recipes.networks_hybrid import ECO, BLVNet, CPNet, RegionGraphNet
from tanet.runtime.device import keep_freed_memory

__all__ = ["BUILDERS", "build", "create_model", "list_models"]


def create_model(
    name: str = "",
    *,
    frames: int | None = None,
    classes: int = 400,
    dropout: float | None = None,
    input_spec: InputSpec | None = None,
    backbone: str | None = None,
    temporal: str | None = None,
    position: Literal["auto", "a", "b", "c", "d"] | None = None,
) -> Network:
    """Create a network by its name, with random weights.

    Args:
        name: one of `list_models()`.
        frames: T, frames per clip; None for the architecture's default.
        classes: number of classes.
        dropout: dropout probability before the classifier; None for the architecture's default.
        input_spec: how clips must be prepared; None for the architecture's default.
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
    settings: NetworkSettings
    if name:
        found = find_architecture(name)
        settings, input_spec = found.settings, input_spec or found.input_spec
    else:
        settings = Network2D(**old)  # type: ignore[arg-type]
    if frames is not None:
        settings = replace(settings, frames=frames)
    if dropout is not None:
        settings = replace(settings, dropout=dropout)
    return build(settings, classes=classes, input_spec=input_spec)


def build(model: NetworkSettings, *, classes: int, input_spec: InputSpec | None = None) -> Network:
    """Build a network with random weights from the model section of a recipe. No file is read.

    Args:
        model: settings of the network; their class selects the family of networks.
        classes: number of classes.
        input_spec: how clips must be prepared; None for the family's default normalisation.

    Raises:
        UserError: the backbone, temporal module, position or a stage is unknown, or two settings contradict
            each other.
    """
    if classes < 1:
        raise UserError(f"classes must be positive, not {classes}")
    input_spec = input_spec or normalisation_of(model)
    if model.is_flow != (input_spec.channels == "flow"):
        takes = "optical flow" if model.is_flow else "RGB frames"
        raise UserError(
            f"the network takes {takes}, but its input specification is for {input_spec.channels}"
        )
    keep_freed_memory()
    network = BUILDERS[type(model)](model, classes=classes, input_spec=input_spec)
    network.channels = model.channels
    return network


def _build_2d(model: Network2D, *, classes: int, input_spec: InputSpec) -> VideoNet:
    """Build a 2D network, replace its classifier and insert temporal modules."""
    if model.backbone not in BACKBONES:
        raise UserError(f"unknown backbone '{model.backbone}': choose from {', '.join(BACKBONES)}")
    backbone = BACKBONES[model.backbone]()
    set_input_channels(backbone, model.channels)
    features = remove_classifier(backbone)
    if groups := insertions(backbone, model):
        plug_all(backbone, groups)
    kind = {"mean": VideoNet}.get(model.consensus) or partial(
        RelationNet,
        width=model.relation_features,
        multiscale=model.consensus == "trn-multiscale",
        draw=model.relation_draw,
    )
    return kind(
        backbone,
        features=features,
        frames=model.frames,
        classes=classes,
        dropout=model.dropout,
        input_spec=input_spec,
    )


BUILDERS: dict[type[NetworkSettings], Callable[..., Network]] = {
    Network2D: _build_2d,
    InceptionI3D: InceptionI3DNetwork,
    ResNet3D: ResNet3DNetwork,
    SlowFast: SlowFastNetwork,
    X3D: X3DNetwork,
    S3D: S3DNetwork,
    VideoResNet: VideoResNetNetwork,
    CSN: CSNNetwork,
    ARTNet: ARTNetNetwork,
    ECO: ECONetwork,
    BLVNet: BLVNetwork,
    CPNet: CPNetwork,
    RegionGraphNet: RegionGraphNetwork,
}
"""Settings class of a family → the function that builds its networks."""

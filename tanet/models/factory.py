"""Build networks: from the settings of a recipe, or by name."""

from typing import Literal

from tanet.models.backbones2d import BACKBONES, remove_classifier
from tanet.models.insertion.plug import insert
from tanet.models.temporal import entry, locate
from tanet.models.video_net import VideoNet
from tanet.recipes.recipe import Model


def build(model: Model, *, classes: int) -> VideoNet:
    """The network that a recipe's model section describes, freshly initialised; no file is read.

    Raises:
        ValueError: an unknown backbone, temporal module, position or stage, or values that do not fit.
    """
    if model.backbone not in BACKBONES:
        raise ValueError(f"unknown backbone '{model.backbone}': known are {', '.join(BACKBONES)}")
    if model.frames < 1 or classes < 1:
        raise ValueError(f"frames and classes must be positive, not {model.frames} and {classes}")
    backbone = BACKBONES[model.backbone]()
    features = remove_classifier(backbone)
    temporal = entry(model.temporal)
    if temporal is not None:
        chosen = locate(backbone, model, place=temporal.place)
        insert(backbone, chosen, lambda site: temporal.make(site, model))
    return VideoNet(backbone, features=features, frames=model.frames, classes=classes, dropout=model.dropout)


def create_model(
    *,
    backbone: str = "resnet50",
    temporal: str = "tam",
    frames: int = 8,
    classes: int = 400,
    dropout: float = 0.5,
    position: Literal["auto", "a", "b", "c", "d"] = "auto",
) -> VideoNet:
    """A fresh network by its names, e.g. `create_model(backbone="resnet50", temporal="tam", classes=174)`.

    For the other fields of a model, `build(Model(…), classes=…)`.
    """
    model = Model(backbone=backbone, temporal=temporal, frames=frames, dropout=dropout, position=position)
    return build(model, classes=classes)

"""Action recognition in video with PyTorch: train, test and run 2D networks with temporal modules."""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from tanet.old_modules import install as _install_old_modules
from tanet.runtime.files import versions

if TYPE_CHECKING:
    from tanet.checkpoints.checkpoint import load
    from tanet.checkpoints.hub_push import push
    from tanet.checkpoints.pretrained.entries import list_weights
    from tanet.errors import UserError
    from tanet.inference.export.export import export
    from tanet.inference.halves import classify, views
    from tanet.inference.predict import Prediction, predict, predict_all
    from tanet.models.factory import build, create_model, list_models
    from tanet.models.insertion.plug import plug
    from tanet.models.temporal import TAM
    from tanet.models.video_net import VideoNet
    from tanet.recipes.input_spec import InputSpec
    from tanet.recipes.recipe import Recipe
    from tanet.training.trainer import train

# Name → module that defines it. It is imported when the name is first used, because PyTorch takes seconds:
# `tanet --help` does without it.
_MODULES = {
    "InputSpec": "tanet.recipes.input_spec",
    "Prediction": "tanet.inference.predict",
    "Recipe": "tanet.recipes.recipe",
    "TAM": "tanet.models.temporal",
    "UserError": "tanet.errors",
    "VideoNet": "tanet.models.video_net",
    "build": "tanet.models.factory",
    "classify": "tanet.inference.halves",
    "create_model": "tanet.models.factory",
    "export": "tanet.inference.export.export",
    "list_models": "tanet.models.factory",
    "list_weights": "tanet.checkpoints.pretrained.entries",
    "load": "tanet.checkpoints.checkpoint",
    "plug": "tanet.models.insertion.plug",
    "predict": "tanet.inference.predict",
    "predict_all": "tanet.inference.predict",
    "push": "tanet.checkpoints.hub_push",
    "train": "tanet.training.trainer",
    "views": "tanet.inference.halves",
}
__all__ = [
    "TAM",
    "InputSpec",
    "Prediction",
    "Recipe",
    "UserError",
    "VideoNet",
    "build",
    "classify",
    "create_model",
    "export",
    "list_models",
    "list_weights",
    "load",
    "plug",
    "predict",
    "predict_all",
    "push",
    "train",
    "views",
]

_install_old_modules()


def __getattr__(name: str) -> Any:
    """Import a public name or a package of tanet; read the version from the installed package's metadata."""
    if name == "__version__":
        return versions()["tanet"]
    if name in _MODULES:
        found = getattr(importlib.import_module(_MODULES[name]), name)
    elif name.startswith("_") or importlib.util.find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(f"module 'tanet' has no attribute '{name}'")
    else:
        found = importlib.import_module(f"{__name__}.{name}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})

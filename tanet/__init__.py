"""Action recognition in video with PyTorch: train, test and run 2D networks with temporal modules."""

import importlib
import threading
from typing import TYPE_CHECKING

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

    __version__: str

# Name → module that defines it. These modules are imported when a name is first used, because they import
# PyTorch, which takes seconds: `tanet --help` does without it.
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

_LOCK = threading.RLock()
"""Held while names are imported. Without it, threads that import at once can deadlock."""

_install_old_modules()


if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import all public names when one is first used; read the version from the metadata."""
        if name == "__version__":
            return versions()["tanet"]
        if not name.startswith("__"):
            with _LOCK:
                for public, module in _MODULES.items():
                    globals().setdefault(public, getattr(importlib.import_module(module), public))
        if name not in globals():  # now also the packages: models, data, …
            raise AttributeError(f"module 'tanet' has no attribute '{name}'")
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, "__version__"})

"""Action recognition in video with PyTorch: train, test and run 2D networks with temporal modules."""

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
from tanet.old_modules import install as _install_old_modules
from tanet.recipes.input_spec import InputSpec
from tanet.recipes.recipe import Recipe
from tanet.runtime.files import versions
from tanet.training.trainer import train

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


def __getattr__(name: str) -> str:
    """Return `tanet.__version__`, which is read from the metadata of the installed package."""
    if name == "__version__":
        return versions()["tanet"]
    raise AttributeError(f"module 'tanet' has no attribute '{name}'")

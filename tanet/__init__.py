"""Action recognition in video with 2D networks that were given a sense of time."""

from tanet.checkpoints.checkpoint import load
from tanet.inference.predict import Prediction, predict, predict_all
from tanet.models.factory import build, create_model
from tanet.models.insertion.plug import plug
from tanet.models.temporal import TAM
from tanet.models.video_net import VideoNet
from tanet.recipes.recipe import Recipe
from tanet.training.trainer import train

__all__ = [
    "TAM",
    "Prediction",
    "Recipe",
    "VideoNet",
    "build",
    "create_model",
    "load",
    "plug",
    "predict",
    "predict_all",
    "train",
]

"""Action recognition in video with 2D networks that were given a sense of time."""

from tanet.checkpoint import load
from tanet.network import VideoNet, build, create_model
from tanet.plug import plug
from tanet.predict import Prediction, predict, predict_all
from tanet.recipe import Recipe
from tanet.temporal import TAM
from tanet.train import train

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

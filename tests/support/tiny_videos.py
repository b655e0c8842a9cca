"""Small H.264 videos for tests. Only the order of frames distinguishes their classes."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tanet import synthetic
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.models.factory import build
from tanet.recipes.recipe import Data, Eval, Network2D, Optim, Recipe

TINY = Recipe(
    data=Data(sampling="uniform", resize=0, size=32, flip="none", workers=0),
    model=Network2D(backbone="resnet18_w16", temporal="tam", frames=4, dropout=0.0),
    optim=Optim(epochs=1, lr=0.01, milestones=(), batch=4, linear_lr_boost="none"),
    eval=Eval(clips=1, crops=1, resize=32, size=32),
)


def changed(recipe: Recipe, **sections: dict[str, Any]) -> Recipe:
    """Return the recipe with other values in some fields of some sections."""
    return dataclasses.replace(
        recipe,
        **{name: dataclasses.replace(getattr(recipe, name), **fields) for name, fields in sections.items()},
    )


def make(path: Path, *, verb: str = "move_left", frames: int = 12, seed: int = 0) -> Path:
    """Write one synthetic clip of a verb, 48 × 32 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    clip = synthetic.render(verb, frames=frames, height=32, width=48, generator=generator)
    synthetic.write_video(path, clip)
    return path


def tiny_model() -> Checkpoint:
    """Return a narrow network with drawn weights, for three classes a, b and c."""
    torch.manual_seed(0)
    network = build(TINY.model, classes=3)
    torch.nn.init.normal_(network.head.weight)
    return Checkpoint(network.eval(), TINY, ("a", "b", "c"))


def make_folders(root: Path, *, train: int = 4, val: int = 2) -> Path:
    """Write videos to ROOT/{train,val}/{move_left,move_right}/N.mp4."""
    for split, count in (("train", train), ("val", val)):
        for number, verb in enumerate(("move_left", "move_right")):
            for i in range(count):
                make(
                    root / split / verb / f"{i}.mp4", verb=verb, seed=100 * number + 10 * (split == "val") + i
                )
    return root

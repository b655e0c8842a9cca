"""Measure whether the best checkpoint of a training of 24 to 40 steps can be trusted.

    python -m bench short_training --data arrow6 --weights mobilenet_v2_imagenet.pth

A network is trained on 70 videos of arrow6's actions, played forward only, and tested on all of val/. Each
row compares the accuracy of best.safetensors with that of the same weights whose BatchNorm statistics were
computed again over all training videos in random order, with the code of this file. The column `statistics`
is optim.norm_statistics.
"""

import argparse
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from bench.decoded_cache import decoded, kept_open
from tanet import train
from tanet.checkpoints import checkpoint
from tanet.data.annotations import read_split
from tanet.data.dataset import EvalClips
from tanet.data.normalisation import normalise
from tanet.data.samples import Sample
from tanet.recipes import RECIPES
from tanet.recipes.recipe import Data, Recipe
from tanet.runtime.device import pick_device

KEY = ("temporal", "statistics", "steps", "seed", "machine")
VIDEOS = 70
SIZES = (128, 112)  # short side and crop, in pixels
BATCH = 16
BACKBONE = "mobilenet_v2"


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="arrow6: folder with train/ and val/")
    parser.add_argument("--weights", required=True, help="ImageNet weights of MobileNetV2")
    parser.add_argument("--steps", type=int, nargs="+", default=[24, 40])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--temporal", nargs="+", default=["tam", "none"])
    parser.add_argument("--workers", type=int, default=4)


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    with decoded(flags.data) as cache, kept_open(), tempfile.TemporaryDirectory() as folder:
        lists = write_lists(cache.root, Path(folder), most=VIDEOS)
        for seed in flags.seeds:
            for steps in flags.steps:
                for temporal in flags.temporal:
                    for statistics in ("auto", "running"):
                        recipe = recipe_of(flags, lists, temporal=temporal, steps=steps, seed=seed)
                        recipe = replace(recipe, optim=replace(recipe.optim, norm_statistics=statistics))
                        out = Path(folder) / f"{temporal} {statistics} {steps} {seed}"
                        yield {
                            "temporal": temporal,
                            "statistics": statistics,
                            "steps": steps,
                            "seed": seed,
                            **measure(recipe, out),
                        }


def write_lists(root: Path, folder: Path, *, most: int | None = None) -> Data:
    """Write lists of the videos of arrow6's actions that are played forward.

    Args:
        root: arrow6, with train/ and val/.
        folder: folder for the lists.
        most: largest number of training videos, which are drawn at random; None for all.
    """
    split = read_split(Data(root=str(root)))
    parts = {
        name: [(s.path, split.classes[s.label]) for s in samples]
        for name, samples in (("train", split.train), ("val", split.val))
    }
    for name, videos in parts.items():
        forward = [(path, label) for path, label in videos if not label.endswith("Reversed")]
        if name == "train" and most is not None:
            forward = sorted(random.Random(0).sample(forward, min(most, len(forward))))
        lines = [f"{Path(path).resolve()} {label}\n" for path, label in forward]
        (folder / f"{name}.txt").write_text("".join(lines))
    return Data(train=str(folder / "train.txt"), val=str(folder / "val.txt"))


def recipe_of(flags: argparse.Namespace, lists: Data, *, temporal: str, steps: int, seed: int) -> Recipe:
    recipe, (resize, size) = RECIPES["finetune"], SIZES
    data = replace(
        recipe.data, train=lists.train, val=lists.val, workers=flags.workers, resize=resize, size=size
    )
    model = replace(recipe.model, backbone=BACKBONE, temporal=temporal, weights=flags.weights)
    optim = replace(recipe.optim, batch=BATCH, max_steps=steps)
    return Recipe(data, model, optim, replace(recipe.eval, resize=resize, size=size), seed)


def measure(recipe: Recipe, out: Path) -> dict[str, object]:
    best = checkpoint.load(train(recipe, out=out), device=pick_device())
    split = read_split(recipe.data, classes=best.classes)
    kept = accuracy(best, split.val)
    compute_statistics(best, random.Random(0).sample(split.train, len(split.train)))
    return {
        "epoch": best.info["epoch"],
        "best": round(kept, 4),
        "computed_outside": round(accuracy(best, split.val), 4),
    }


def views_of(best: checkpoint.Checkpoint, samples: Sequence[Sample]) -> Iterator[tuple[torch.Tensor, int]]:
    """Yield the central view of each video, normalised, [1, T, 3, S, S], and its label."""
    recipe = best.recipe
    one_view = replace(recipe.eval, clips=1, crops=1)
    clips = EvalClips(samples, recipe.data, one_view, frames=recipe.model.frames)
    device = next(best.network.parameters()).device
    for number in range(len(samples)):
        item = clips[number]
        assert isinstance(item, tuple), item
        yield normalise(item[0].to(device), best.network.input_spec), item[1]


@torch.no_grad()
def accuracy(best: checkpoint.Checkpoint, samples: Sequence[Sample]) -> float:
    best.network.eval()
    right = sum(int(best.network(views).argmax()) == label for views, label in views_of(best, samples))
    return right / len(samples)


@torch.no_grad()
def compute_statistics(best: checkpoint.Checkpoint, samples: Sequence[Sample]) -> None:
    """Set the BatchNorm statistics to the averages over batches of all videos. A batch should mix classes."""
    norms = [module for module in best.network.modules() if isinstance(module, _BatchNorm)]
    best.network.train()
    for module in best.network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a cumulative average
    views = [views for views, _ in views_of(best, samples)]
    for start in range(0, len(views), BATCH):
        best.network(torch.cat(views[start : start + BATCH]))

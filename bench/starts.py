"""Measure where fine-tuning should start from: Kinetics weights, frozen or not, or ImageNet weights.

    python -m bench starts --data arrow6 --i3d i3d_rgb_k400_flat_fp16.npz \\
        --mobilenet mobilenet_v2_imagenet.pth

    i3d-probe        I3D's Kinetics weights; only the classifier is trained (optim.trained head)
    i3d-all          I3D's Kinetics weights; all layers are trained
    mobilenet-tam    ImageNet weights of MobileNetV2, and new TAMs; all layers are trained

The two sets are arrow6 (three actions of UCF-101, each forwards and backwards), and its actions played
forward alone. Every training follows the recipe `finetune`, with fewer epochs. I3D sees 64 consecutive frames
of 224² from a short side of 256, as it was trained; MobileNetV2 sees 8 frames of 112² from a short side of
128. The videos have a short side of 128 pixels and are decoded once. Both directions of a clip come from one
file, so that the traces of encoding do not reveal the direction. Accuracies are of one view of each test
video.
"""

import argparse
import gc
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from bench.common import capture_passes
from bench.decoded_cache import decoded
from bench.short_training import write_lists
from tanet import train
from tanet.checkpoints.recipe_from_file import recipe_from_file
from tanet.recipes.finetune import FINETUNE
from tanet.recipes.recipe import Data, Recipe
from tanet.training.events import EpochResult
from tanet.training.plan import Plan

KEY = ("set", "start", "seed", "epochs", "machine")
PACKAGES = ("torch", "av")
SETS = ("arrow6", "forward")
EPOCHS = {"i3d-probe": 12, "i3d-all": 16, "mobilenet-tam": 150}
SIZES = {"i3d": (256, 224), "mobilenet": (128, 112)}  # short side and crop, in pixels
BACKBONE = "mobilenet_v2"
VALIDATIONS = 4  # of each training


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="arrow6: folder with train/ and val/")
    parser.add_argument("--i3d", type=Path, help="I3D's Kinetics weights, any file that --init takes")
    parser.add_argument("--mobilenet", type=Path, help="ImageNet weights of MobileNetV2")
    parser.add_argument("--starts", nargs="+", choices=list(EPOCHS), default=list(EPOCHS))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="epochs of each training (default: its own number)")
    parser.add_argument("--workers", type=int, default=12)


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    needs = {"i3d" if start.startswith("i3d") else "mobilenet" for start in flags.starts}
    for name in sorted(needs):
        if getattr(flags, name) is None:
            raise SystemExit(f"--{name} FILE is needed for these --starts")
    with decoded(flags.data, one_file=True) as cache, tempfile.TemporaryDirectory() as folder:
        videos = {"arrow6": Data(root=str(cache.root)), "forward": write_lists(cache.root, Path(folder))}
        for seed in flags.seeds:
            for name in flags.sets:
                for start in flags.starts:
                    recipe = recipe_of(flags, videos[name], start=start, seed=seed)
                    out = Path(folder) / f"{name} {start} {seed}"
                    yield {"set": name, "start": start, "seed": seed, **measure(recipe, out)}


def recipe_of(flags: argparse.Namespace, videos: Data, *, start: str, seed: int) -> Recipe:
    """Return the recipe of one training: `finetune` with the network and the sizes of a start."""
    kind, recipe = "mobilenet", FINETUNE
    if start.startswith("i3d"):
        kind, (recipe, _) = "i3d", recipe_from_file(flags.i3d, recipe)
    else:
        model = replace(recipe.model, backbone=BACKBONE, weights=str(flags.mobilenet))
        recipe = replace(recipe, model=model)
    resize, size = SIZES[kind]
    places = {"root": videos.root, "train": videos.train, "val": videos.val}
    work = {"workers": flags.workers, "transform_on": "device", "resize": resize, "size": size}
    epochs = flags.epochs or EPOCHS[start]
    optim = replace(
        recipe.optim,
        trained="head" if start == "i3d-probe" else "all",
        epochs=epochs,
        warmup=min(recipe.optim.warmup, epochs / 10),
    )
    every = max(1, round(epochs / VALIDATIONS))
    eval = replace(recipe.eval, resize=resize, size=size, every=every)
    return Recipe(replace(recipe.data, **places, **work), recipe.model, optim, eval, seed)


def measure(recipe: Recipe, out: Path) -> dict[str, object]:
    """Train, and return the columns that follow from the recipe and its results."""
    results: list[EpochResult] = []
    plans: list[Plan] = []

    def keep(event: object) -> None:
        if isinstance(event, EpochResult):
            results.append(event)
        if isinstance(event, Plan):
            plans.append(event)

    # A small network waits for the start of kernels; a CUDA graph starts them at once.
    is_small = recipe.model.tam and torch.cuda.is_available()
    capture = partial(capture_passes, optim=recipe.optim, size=recipe.data.size) if is_small else None
    train(recipe, out=out, on_event=keep, on_network=capture)
    gc.collect()  # a captured network refers to itself, so reference counting does not free its memory
    accuracies = [result.val_top1 for result in results if result.val_top1 is not None]
    last, planned = results[-1], plans[0]
    return {
        "trained": recipe.optim.trained,
        "epochs": len(results),
        "videos": f"{planned.train} + {planned.val}",
        "train_top1": round(last.train_top1, 4),
        "best_top1": round(max(accuracies), 4),
        "last_top1": round(accuracies[-1], 4),
        "seconds": round(last.seconds),
        "clips_per_s": round(last.clips_per_second, 1),
        "views": f"1 × 1 of {recipe.eval.size}², {recipe.model.frames} frames",
    }

"""The arrow of time on real video: TANet against the 2D network, several seeds → results/arrow6.csv.

    python -m bench.arrow6 --data arrow6 --weights mobilenet_v2_imagenet.pth

Each row is one training of the recipe `arrow6`, tested after its last epoch, with one view and with the
recipe's; videos are decoded once, and passes captured as a CUDA graph (bench/decoded.py). One run after the
other: six processes side by side, taking turns on one GPU, were slower than that.
"""

import argparse
import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from bench.common import ROOT, commit, machine, versions, write_csv
from bench.decoded import capturing, decoded
from tanet import checkpoint, evaluate
from tanet.annotation import read_split
from tanet.device import pick_device
from tanet.optim import make_optimizer
from tanet.recipe import Recipe
from tanet.recipes import RECIPES
from tanet.train import EpochResult, train

SIZE = RECIPES["arrow6"].data.size


@dataclass(frozen=True)
class Run:
    """One training."""

    temporal: str
    seed: int
    recipe: Recipe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with train/ and val/")
    parser.add_argument("--weights", required=True, help="MobileNetV2's ImageNet weights")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--temporal", nargs="+", default=["tam", "none"])
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--lr", type=float, help="instead of the recipe's")
    parser.add_argument("--no-graph", action="store_true", help="launch every kernel of every step")
    parser.add_argument("--workers", type=int, default=8, help="processes that cut the clips")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "arrow6.csv")
    flags = parser.parse_args()

    runs = [Run(name, seed, _recipe(flags, name, seed)) for name in flags.temporal for seed in flags.seeds]
    with decoded(flags.data) as videos:
        print(f"{videos} videos decoded", flush=True)
        graph = torch.cuda.is_available() and not flags.no_graph
        rows = []
        for run in runs:
            rows.append(_train(run, graph=graph))
            write_csv(flags.out, rows)
    for name in flags.temporal:
        top1 = [float(row["val_top1"]) for row in rows if row["temporal"] == name]
        print(f"{name:8} val top-1 {np.mean(top1):.4f} ± {np.std(top1):.4f} of {len(top1)} seeds")


def _recipe(flags: argparse.Namespace, temporal: str, seed: int) -> Recipe:
    recipe = RECIPES["arrow6"]
    optim = dataclasses.replace(
        recipe.optim,
        epochs=flags.epochs or recipe.optim.epochs,
        lr=flags.lr or recipe.optim.lr,
    )
    return dataclasses.replace(
        recipe,
        data=dataclasses.replace(recipe.data, root=flags.data, workers=flags.workers),
        model=dataclasses.replace(recipe.model, temporal=temporal, weights=flags.weights),
        optim=optim,
        seed=seed,
    )


def _train(run: Run, *, graph: bool) -> dict[str, object]:
    results: list[EpochResult] = []

    def keep(event: object) -> None:
        if isinstance(event, EpochResult):
            results.append(event)
            print(f"{run.temporal} seed {run.seed} {event}", flush=True)

    with (
        tempfile.TemporaryDirectory() as out,
        mock.patch("tanet.train.make_optimizer", capturing(SIZE) if graph else make_optimizer),
    ):
        train(run.recipe, out=out, report=keep)
        model = checkpoint.load(Path(out) / "last.safetensors", device=pick_device())
        split = read_split(run.recipe.data)
        report = evaluate.test(model.network, split.val, classes=split.classes, recipe=run.recipe)
    last = results[-1]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else machine()
    return {
        "commit": commit(),
        "machine": device,
        "versions": versions("torch", "av"),
        "temporal": run.temporal,
        "seed": run.seed,
        "epochs": last.epoch,
        "lr": run.recipe.optim.lr,
        "train_top1": round(last.train_top1, 4),
        "val_top1_one_view": round(last.val_top1 or 0.0, 4),
        "views": f"{run.recipe.eval.clips} x {run.recipe.eval.crops}",
        "val_top1": round(report.accuracy.top1, 4),
        "val_mean_class": round(report.accuracy.mean_class, 4),
        "seconds": round(last.seconds),
    }


if __name__ == "__main__":
    main()

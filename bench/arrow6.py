"""The arrow of time on real video: TANet against the 2D network, several seeds → results/arrow6.csv.

    python -m bench.arrow6 --data arrow6 --weights mobilenet_v2_imagenet.pth

Each row is one training of the recipe `arrow6`, tested after its last epoch. The runs go side by side. Every
video is decoded once, into files of raw frames that the runs share; since the reader is exact, that changes
their time and nothing else.
"""

import argparse
import dataclasses
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
from numpy.typing import ArrayLike

from bench.common import ROOT, commit, machine, versions, write_csv
from tanet.annotation import videos_under
from tanet.recipe import Recipe
from tanet.recipes import RECIPES
from tanet.train import EpochResult, train
from tanet.video import Video, open_video


@dataclass(frozen=True)
class Run:
    """One training."""

    temporal: str
    seed: int
    recipe: Recipe


class Decoded(Video):
    """A video whose frames lie decoded in a file."""

    def __init__(self, path: str | Path, folder: Path) -> None:
        self.frames = np.load(_raw(path, folder), mmap_mode="r")
        self.info = SimpleNamespace(frames=len(self.frames))  # type: ignore[assignment]

    def read(self, indices: ArrayLike | torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.frames[np.asarray(indices)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with train/ and val/")
    parser.add_argument("--weights", required=True, help="MobileNetV2's ImageNet weights")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--temporal", nargs="+", default=["tam", "none"])
    parser.add_argument("--epochs", type=int, help="instead of the recipe's")
    parser.add_argument("--lr", type=float, help="instead of the recipe's")
    parser.add_argument("--parallel", type=int, default=6, help="trainings side by side")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "arrow6.csv")
    flags = parser.parse_args()

    runs = [Run(name, seed, _recipe(flags, name, seed)) for name in flags.temporal for seed in flags.seeds]
    spawn = get_context("spawn")
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as raw:
        videos = videos_under(Path(flags.data))
        with ProcessPoolExecutor(os.cpu_count(), mp_context=spawn) as pool:
            list(pool.map(partial(_decode, folder=Path(raw)), videos, chunksize=8))
        print(f"{len(videos)} videos decoded", flush=True)
        rows = []
        with ProcessPoolExecutor(flags.parallel, mp_context=spawn) as pool:
            for row in pool.map(partial(_train, folder=Path(raw)), runs):
                rows.append(row)
                write_csv(flags.out, rows)
    for name in flags.temporal:
        top1 = [float(row["val_top1"]) for row in rows if row["temporal"] == name]
        print(f"{name:8} val top-1 {np.mean(top1):.4f} ± {np.std(top1):.4f} of {len(top1)} seeds")


def _recipe(flags: argparse.Namespace, temporal: str, seed: int) -> Recipe:
    recipe = RECIPES["arrow6"]
    optim = dataclasses.replace(
        recipe.optim, epochs=flags.epochs or recipe.optim.epochs, lr=flags.lr or recipe.optim.lr
    )
    return dataclasses.replace(
        recipe,
        data=dataclasses.replace(recipe.data, root=flags.data, workers=1),
        model=dataclasses.replace(recipe.model, temporal=temporal, weights=flags.weights),
        optim=optim,
        seed=seed,
    )


def _train(run: Run, *, folder: Path) -> dict[str, object]:
    torch.set_num_threads(1)
    results: list[EpochResult] = []

    def keep(event: object) -> None:
        if isinstance(event, EpochResult):
            results.append(event)
            print(f"{run.temporal} seed {run.seed} {event}", flush=True)

    with (
        tempfile.TemporaryDirectory() as out,
        mock.patch("tanet.datasets.open_video", partial(Decoded, folder=folder)),
    ):
        train(run.recipe, out=out, report=keep)
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
        "val_top1": round(last.val_top1 or 0.0, 4),
        "val_mean_class": round(last.val_mean_class or 0.0, 4),
        "seconds": round(last.seconds),
    }


def _decode(path: Path, *, folder: Path) -> None:
    with open_video(path) as video:
        np.save(_raw(path, folder), video.read(range(video.info.frames)).numpy())


def _raw(path: str | Path, folder: Path) -> Path:
    return folder / (str(path).replace(os.sep, "_") + ".npy")


if __name__ == "__main__":
    main()

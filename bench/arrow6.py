"""The arrow of time on real video: TANet against the 2D network, several seeds → results/arrow6.csv.

    python -m bench.arrow6 --data arrow6 --weights mobilenet_v2_imagenet.pth

Each row is one training of the recipe `arrow6`, tested after its last epoch, with one view and with the
recipe's. Two things spend less of a GPU's time and change nothing else: every video is decoded once, into
files of raw frames that the runs share (the reader is exact); and the network's forward and backward pass are
captured as a CUDA graph, since so small a network waits for its launches. One run after the other: six
processes side by side, taking turns on one GPU, were slower than that.
"""

import argparse
import copy
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
from tanet import checkpoint, evaluate
from tanet.annotation import read_split, videos_under
from tanet.device import pick_device
from tanet.network import VideoNet
from tanet.optim import make_optimizer
from tanet.recipe import Optim, Recipe
from tanet.recipes import RECIPES
from tanet.train import EpochResult, train
from tanet.video import Video, open_video

SIZE = RECIPES["arrow6"].data.size


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

    def read(self, indices: ArrayLike | torch.Tensor, *, short_side: int | None = None) -> torch.Tensor:
        assert short_side is None
        return torch.from_numpy(self.frames[np.asarray(indices)])


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
    spawn = get_context("spawn")
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as raw:
        videos = videos_under(Path(flags.data))
        with ProcessPoolExecutor(os.cpu_count(), mp_context=spawn) as pool:
            list(pool.map(partial(_decode, folder=Path(raw)), videos, chunksize=8))
        print(f"{len(videos)} videos decoded", flush=True)
        graph = torch.cuda.is_available() and not flags.no_graph
        rows = []
        for run in runs:
            rows.append(_train(run, folder=Path(raw), graph=graph))
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


def _train(run: Run, *, folder: Path, graph: bool) -> dict[str, object]:
    results: list[EpochResult] = []

    def keep(event: object) -> None:
        if isinstance(event, EpochResult):
            results.append(event)
            print(f"{run.temporal} seed {run.seed} {event}", flush=True)

    with (
        tempfile.TemporaryDirectory() as out,
        mock.patch("tanet.datasets.open_video", partial(Decoded, folder=folder)),
        mock.patch("tanet.train.make_optimizer", _captured if graph else make_optimizer),
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


def _captured(network: VideoNet, optim: Optim) -> torch.optim.Optimizer:
    """The optimizer, after the network's forward and backward pass were captured."""
    optimizer = make_optimizer(network, optim)
    state = copy.deepcopy(network.state_dict())
    clips = torch.randn(optim.batch, network.frames, 3, SIZE, SIZE, device="cuda")
    network.train()
    with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
        torch.cuda.make_graphed_callables(network, (clips,))
    network.load_state_dict(state)  # warming up moved the running statistics
    return optimizer


def _decode(path: Path, *, folder: Path) -> None:
    with open_video(path) as video:
        np.save(_raw(path, folder), video.read(range(video.info.frames)).numpy())


def _raw(path: str | Path, folder: Path) -> Path:
    return folder / (str(path).replace(os.sep, "_") + ".npy")


if __name__ == "__main__":
    main()

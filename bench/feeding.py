"""Measure how much reading videos slows down training.

    python -m bench feeding                writes results/feeding.csv
    python -m bench feeding --device cpu --backbone resnet18_w16 --size 40 --batch 4 --steps 6 --workers 2

The benchmark runs the training steps of `tanet train` on batches from several sources:

    resident      one normalised batch that stays on the device: nothing is read and nothing is copied
    jpeg shards   JPEG frames in tar shards, as `tanet data pack` writes them
    h264 files    340x256 like Kinetics, with a key frame every 12 or every 250 frames

`transform_on` says where clips are cropped, mirrored and resized: in the workers or on the device. Clips are
dense (8 frames of 64). The videos are synthetic. Their files are in the page cache, so the disk is not
measured.

The percentiles are over the speeds of the blocks of steps. The first block is not counted, because the
workers start in it.

    ratio     p50 divided by the p50 of `resident`
    waiting   share of the time in which the training loop waits for the loader
    feed      clips per second of the same loader if its batches are discarded

Training cannot be faster than `feed`, nor faster than `resident`.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Literal

import torch

from bench.common import percentiles
from bench.make_video import make_clip
from tanet.data.annotations import read_split
from tanet.data.dataset import EpochSampler, TrainClips
from tanet.data.loader import Batch, ClipLoader
from tanet.data.prefetch import prefetch_to_device, timed
from tanet.data.tools.encode import Encoding
from tanet.data.tools.pack import pack
from tanet.models.factory import build
from tanet.recipes.recipe import Data, Network2D, Optim
from tanet.runtime.device import available_cores, pick_device
from tanet.runtime.distributed import SINGLE_PROCESS
from tanet.training.optimizer import make_optimizer
from tanet.training.step import TrainStep

BLOCKS = 4  # timed blocks of steps
# Files of a data set. An epoch reads each file many times, and a different clip each time.
VIDEOS = 8
FRAMES = 8
CLASSES = 400
Step = Callable[[torch.Tensor, torch.Tensor], object]


@dataclass(frozen=True)
class Setting:
    """Settings shared by all rows."""

    device: torch.device
    backbone: str
    batch: int
    steps: int
    """Steps per block."""
    workers: int
    size: int


@dataclass(frozen=True)
class Source:
    """A data set, and where its clips are cropped, mirrored and resized: in the workers or on the device."""

    name: str
    root: Path
    transform_on: Literal["workers", "device"]


PACKAGES = ("av", "torch", "numpy")


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", help="device (default: a GPU if there is one)")
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--batch", type=int, default=32, help="batch size, in clips")
    parser.add_argument("--steps", type=int, default=64, help=f"minimum of steps, over {BLOCKS} blocks")
    parser.add_argument("--workers", type=int, default=available_cores(), help="processes that decode")
    parser.add_argument("--size", type=int, default=224, help="side of the views, in pixels")


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    # Workers deliver their batches in bursts, so a block holds the same number of batches from each worker.
    rounds = -(-flags.steps // (BLOCKS * max(1, flags.workers)))
    steps = rounds * max(1, flags.workers)
    setting = Setting(
        pick_device(flags.device), flags.backbone, flags.batch, steps, flags.workers, flags.size
    )
    step = make_step(setting)
    own = {
        "cores": available_cores(),
        "workers": setting.workers,
        "network": f"tanet {setting.backbone}, {FRAMES} frames, {setting.size}², batch {setting.batch}",
    }
    with tempfile.TemporaryDirectory() as folder:
        for row in measure(step, list(make_sources(Path(folder), workers=setting.workers)), setting):
            yield {**own, **row}


def measure(step: Step, sources: list[Source], setting: Setting) -> Iterator[dict[str, object]]:
    """Yield a row for one batch that stays on the device, then one row per source of batches."""
    with make_feed(sources[0], setting) as feed:
        first = next(prefetch_to_device(feed, setting.device))
    with torch.no_grad():
        batch = first.views.clone(), first.labels  # type: ignore[union-attr]
    del feed  # ends its workers
    for _ in range(3):
        step(*batch)  # warm-up, untimed: compile, autotune and capture CUDA graphs
    resident = percentiles(speeds(cycle([batch]), step, setting))
    yield row_of("resident", "", resident, base=resident["p50"])
    for source in sources:
        with make_feed(source, setting) as feed:
            waits: list[float] = []
            batches = pairs(prefetch_to_device(timed(feed, waits.append), setting.device))
            speeds(batches, step, setting, blocks=1)  # not counted, because the workers start in this block
            before, started = sum(waits), time.monotonic()
            found = percentiles(speeds(batches, step, setting))
            waiting = (sum(waits) - before) / (time.monotonic() - started)
        with make_feed(source, setting) as feed:
            batches = pairs(feed)
            speeds(batches, _leave, setting, blocks=1)
            alone = percentiles(speeds(batches, _leave, setting))["p50"]
        row = row_of(source.name, source.transform_on, found, base=resident["p50"])
        yield {**row, "waiting": f"{waiting:.2f}", "feed": f"{alone:.0f}"}


def pairs(batches: Iterable[Batch]) -> Iterator[tuple[object, torch.Tensor]]:
    """Yield the views and the labels of each batch, without its other fields."""
    for batch in batches:
        yield batch.views, batch.labels


def row_of(name: str, who: str, found: dict[str, float], *, base: float) -> dict[str, object]:
    return {
        "source": name,
        "transform_on": who,
        **{f"{key}_clips_per_s": f"{value:.1f}" for key, value in found.items()},
        "ratio": f"{found['p50'] / base:.3f}",
        "waiting": "",
        "feed": "",
    }


def _leave(views: object, labels: torch.Tensor) -> None:
    """Do nothing with a batch: this step measures the loader alone."""


def speeds(
    batches: Iterator[tuple[object, torch.Tensor]], step: Callable, setting: Setting, *, blocks: int = BLOCKS
) -> list[float]:
    """Run blocks of steps, and return the clips per second of each block."""
    found = []
    for _ in range(blocks):
        started = time.perf_counter()
        for views, labels in islice(batches, setting.steps):
            step(views, labels)
        if setting.device.type == "cuda":
            torch.cuda.synchronize(setting.device)
        found.append(setting.batch * setting.steps / (time.perf_counter() - started))
    return found


def make_step(setting: Setting) -> Step:
    """Build a training step, compiled on a GPU. The learning rate is so small that nothing is learned."""
    torch.manual_seed(0)
    network = build(Network2D(backbone=setting.backbone, frames=FRAMES), classes=CLASSES).train()
    network.to(setting.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optim = Optim(lr=1e-6, batch=setting.batch)
    gpu = setting.device.type == "cuda"
    if gpu:
        network.absorb_batch_norms()
    return TrainStep(
        network, optimizer=make_optimizer(network, optim), optim=optim, group=SINGLE_PROCESS, compile=gpu
    )


def make_feed(source: Source, setting: Setting) -> ClipLoader:
    """Build a loader for one epoch that is long enough for all blocks."""
    data = Data(
        root=str(source.root),
        val_fraction=0.0,
        sampling="dense",
        size=setting.size,
        workers=setting.workers,
        transform_on=source.transform_on,
    )
    split = read_split(data)
    length = setting.batch * setting.steps * (1 + BLOCKS)
    samples = list(islice(cycle(split.train), length))
    clips = TrainClips(samples, data, frames=FRAMES, classes=split.classes)
    order = EpochSampler(length, seed=0)
    return ClipLoader(clips, batch=setting.batch, data=data, order=order, device=setting.device)


def make_sources(folder: Path, *, workers: int) -> Iterator[Source]:
    raw = {group: make_videos(folder / f"h264 {group}", group=group) for group in (12, 250)}
    shards = folder / "shards"
    split = read_split(Data(root=str(raw[12]), val_fraction=0.0))
    done = pack(
        split.train,
        classes=split.classes,
        root=raw[12],
        out=shards,
        split="videos",
        encoding=Encoding("jpeg"),
        shard_size=10**9,
        workers=workers,
        limit=300,
    )
    assert {cause for _, cause in done} == {None}
    jpeg = Source("jpeg shards", shards, "workers")
    h264 = Source("h264 files, groups of 12", raw[12], "workers")
    yield from (jpeg, replace(jpeg, transform_on="device"))
    yield from (h264, replace(h264, transform_on="device"))
    yield Source("h264 files, groups of 250", raw[250], "workers")


def make_videos(root: Path, *, group: int) -> Path:
    """Write a folder of two classes. All files are copies of one video, so all files cost the same."""
    path = root / "a" / "0.mp4"
    path.parent.mkdir(parents=True)
    make_clip(path, codec="libx264", group=group, options={"bf": "3", "threads": "1"})
    for number in range(1, VIDEOS):
        other = root / "ab"[number % 2] / f"{number}.mp4"
        other.parent.mkdir(exist_ok=True)
        shutil.copy(path, other)
    return root

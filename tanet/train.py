"""Training: a plain loop over clips, the same on a CPU and on a GPU.

out/best.safetensors    the checkpoint with the best validation accuracy
out/last.safetensors    the one after the last complete epoch
out/metrics.csv         one line an epoch
out/recipe.json         what was trained
"""

import csv
import dataclasses
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from tanet import checkpoint as checkpoints
from tanet import evaluate
from tanet import recipe as recipes
from tanet.annotation import Split, read_split
from tanet.checkpoint import Checkpoint
from tanet.datasets import EpochOrder, TrainClips
from tanet.device import autocast, pick_device
from tanet.feed import BadVideo, Feed
from tanet.network import VideoNet, build
from tanet.optim import lr_at, make_optimizer, set_lr
from tanet.recipe import Recipe
from tanet.transforms import normalise


@dataclass(frozen=True)
class Progress:
    """Where the training stands, within an epoch."""

    epoch: int
    """From 1."""
    step: int
    """Steps done in this epoch."""
    steps: int
    """Steps in an epoch."""
    loss: float
    top1: float
    """Mean over the epoch so far, as the loss."""
    clips_per_second: float


@dataclass(frozen=True)
class EpochResult:
    """One line of metrics.csv; accuracies are parts of 1, of one view a video; None without validation."""

    epoch: int
    lr: float
    train_loss: float
    train_top1: float
    val_top1: float | None
    val_top5: float | None
    val_mean_class: float | None
    clips_per_second: float
    seconds: float


@dataclass(frozen=True)
class Note:
    """Something to know that stops nothing."""

    text: str


Event = Split | Note | BadVideo | Progress | EpochResult


def _ignore(_: Event) -> None:
    """What nobody watches."""


def train(
    recipe: Recipe,
    *,
    out: str | Path,
    device: str | torch.device | None = None,
    report: Callable[[Event], None] = _ignore,
) -> Path:
    """Train what the recipe describes.

    Args:
        recipe: the experiment.
        out: folder for checkpoints and metrics; it must not hold another run.
        device: None takes a GPU if there is one.
        report: is told what was found (`Split`), how it goes (`Progress`), each epoch's end, and, once, each
            video that can not be read (`BadVideo`); at the end their number (`Note`).

    Returns:
        The path of the best checkpoint.

    Raises:
        ValueError: the recipe can not be carried out, more videos than data.max_bad not be read, or any where
            data.bad_files is "strict"; a worker hangs or died; or the loss is no longer finite.
    """
    optim = recipe.optim
    target = pick_device(device)
    split = read_split(recipe.data, seed=recipe.seed)
    if not split.train:
        raise ValueError("no training videos found")
    if len(split.classes) < 2:
        names = ", ".join(split.classes)
        raise ValueError(f"only one class found ({names}): is {recipe.data.root} one folder too high?")
    report(split)

    torch.manual_seed(recipe.seed)
    network = build(recipe.model, classes=len(split.classes))
    if recipe.model.weights:
        checkpoints.load_2d_weights(network.backbone, recipe.model.weights)
    if recipe.model.init:
        interpolate = recipe.model.init_frames == "interpolate"
        notes = checkpoints.load_start(
            network,
            recipe.model.init,
            model=recipe.model,
            classes=split.classes,
            interpolate=interpolate,
        )
        for note in notes:
            report(Note(note))
    network.to(target, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(network, optim)
    clips = TrainClips(
        split.train, recipe.data, frames=recipe.model.frames, classes=split.classes, seed=recipe.seed
    )
    order = EpochOrder(len(clips), seed=recipe.seed)
    feed = Feed(clips, batch=optim.batch, data=recipe.data, order=order, device=target, report=report)
    run = _Run(Path(out), recipe, split.classes)
    # While it trains the middle of each video is enough; all the recipe's views are for `tanet test`.
    one_view = dataclasses.replace(recipe, eval=dataclasses.replace(recipe.eval, clips=1, crops=1))
    bad_val: set[int] = set()

    def report_val(video: BadVideo) -> None:
        if video.number not in bad_val:  # every validation meets it anew
            bad_val.add(video.number)
            report(video)

    best_top1 = -1.0
    for epoch in range(optim.epochs):
        order.epoch = epoch
        network.train()
        meter = _Meter(epoch + 1, len(feed), report)
        with feed:
            for step, (views, labels) in enumerate(feed):
                set_lr(optimizer, lr_at(epoch + step / len(feed), optim))
                views = normalise(views.to(target, non_blocking=True))  # [B, T, 3, S, S]
                labels = labels.to(target, non_blocking=True)
                with autocast(target, optim.precision):
                    logits = network(views)
                    loss = F.cross_entropy(logits, labels)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), optim.clip_norm)
                optimizer.step()
                meter.add(loss.detach(), logits.detach(), labels)
        trained = meter.read()
        validate = split.val and ((epoch + 1) % recipe.eval.every == 0 or epoch + 1 == optim.epochs)
        run.save_last(network, epoch + 1)
        val = (
            evaluate.test(network, split.val, classes=split.classes, recipe=one_view, bad=report_val)
            if validate
            else None
        )
        result = run.record(trained, lr_at(epoch + 0.5, optim), val)
        if not split.val or (result.val_top1 is not None and result.val_top1 > best_top1):
            best_top1 = result.val_top1 or 0.0
            run.save_best(network, result)
        report(result)
    if feed.bad or bad_val:
        report(
            Note(
                f"{len(feed.bad)} of {len(split.train)} training and {len(bad_val)} of {len(split.val)} "
                "validation videos could not be read, and were left out"
            )
        )
    return run.best


class _Meter:
    """Loss, accuracy and speed of one epoch. Reads from the device once in a while, not at every step."""

    def __init__(self, epoch: int, steps: int, report: Callable[[Event], None]) -> None:
        self.epoch, self.steps, self.report = epoch, steps, report
        self.step = self.clips = 0
        self.sums = torch.zeros(2)  # loss, right answers
        self.started = self.reported = time.monotonic()

    def add(self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> None:
        self.step += 1
        self.clips += len(labels)
        right = (logits.argmax(1) == labels).sum()
        self.sums = self.sums.to(loss.device) + torch.stack([loss.float() * len(labels), right.float()])
        if time.monotonic() - self.reported > 0.5 or self.step == self.steps:
            self.report(self.read())
            self.reported = time.monotonic()

    def read(self) -> Progress:
        loss, top1 = (self.sums / max(1, self.clips)).tolist()
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss is {loss} in epoch {self.epoch}, at step {self.step} or a few before: "
                "lower the learning rate (--optim.lr)"
            )
        speed = self.clips / (time.monotonic() - self.started)
        return Progress(self.epoch, self.step, self.steps, loss, top1, speed)


class _Run:
    """The folder of one training: its checkpoints and its metrics."""

    def __init__(self, folder: Path, recipe: Recipe, classes: tuple[str, ...]) -> None:
        if (folder / "last.safetensors").exists():
            raise ValueError(f"{folder} holds a training already: name another folder with --out")
        self.folder, self.recipe, self.classes = folder, recipe, classes
        self.best = folder / "best.safetensors"
        self.started = time.monotonic()
        checkpoints.write_atomically(
            folder / "recipe.json", json.dumps(recipes.to_dict(recipe), indent=2).encode()
        )
        with (folder / "metrics.csv").open("w", newline="") as file:
            csv.writer(file).writerow(field.name for field in fields(EpochResult))

    def save_last(self, network: VideoNet, epoch: int) -> None:
        self._save(network, "last", {"epoch": epoch})

    def save_best(self, network: VideoNet, result: EpochResult) -> None:
        self._save(network, "best", asdict(result))

    def _save(self, network: VideoNet, name: str, info: dict[str, Any]) -> None:
        checkpoint = Checkpoint(network, self.recipe, self.classes, info)
        checkpoints.save(self.folder / f"{name}.safetensors", checkpoint)

    def record(self, trained: Progress, lr: float, val: evaluate.Report | None) -> EpochResult:
        accuracy = val.accuracy if val else None
        result = EpochResult(
            epoch=trained.epoch,
            lr=lr,
            train_loss=trained.loss,
            train_top1=trained.top1,
            val_top1=accuracy.top1 if accuracy else None,
            val_top5=accuracy.top5 if accuracy else None,
            val_mean_class=accuracy.mean_class if accuracy else None,
            clips_per_second=trained.clips_per_second,
            seconds=time.monotonic() - self.started,
        )
        with (self.folder / "metrics.csv").open("a", newline="") as file:
            csv.writer(file).writerow(asdict(result).values())
        return result

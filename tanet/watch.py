"""Watching a training: what it reports, and the meter of an epoch."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from tanet.annotation import Split
from tanet.distributed import Peers
from tanet.evaluate import Report
from tanet.feed import BadVideo
from tanet.plan import Plan
from tanet.step import Made

EVERY = 0.5  # seconds between two reports of progress


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
    lr: float
    """Learning rate of the last step."""
    clips_per_second: float
    """Of all processes together, in this epoch since its start or a resume."""
    wait: float
    """Part of that time in which this process had no data to compute on."""
    memory: int | None
    """Most bytes that were held on this process's GPU; None on a CPU."""


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
    wait: float
    """Part of the epoch's time in which there was no data to compute on."""
    memory_gib: float | None
    """Most memory that was held on the GPU."""
    seconds: float
    """Since the start, the time between a stop and a resume not counted."""


@dataclass(frozen=True)
class BadStep:
    """A step whose loss or gradient was not finite, so that it was not made."""

    epoch: int
    step: int
    """Both from 1."""
    videos: tuple[str, ...]
    """What was in the batch of each process whose loss was not finite."""

    def __str__(self) -> str:
        few = ", ".join(self.videos[:8]) + (f" and {len(self.videos) - 8} more" if self.videos[8:] else "")
        return f"loss or gradient not finite in epoch {self.epoch}, step {self.step}, with {few}"


@dataclass(frozen=True)
class Note:
    """Something to know that stops nothing."""

    text: str


Event = Split | Plan | Note | BadVideo | BadStep | Progress | EpochResult
Tell = Callable[[Event], None]


def epoch_result(trained: Progress, val: Report | None, *, lr: float, seconds: float) -> EpochResult:
    """An epoch from its training and, if there was one, its validation."""
    accuracy = val.accuracy if val else None
    return EpochResult(
        epoch=trained.epoch,
        lr=lr,
        train_loss=trained.loss,
        train_top1=trained.top1,
        val_top1=accuracy.top1 if accuracy else None,
        val_top5=accuracy.top5 if accuracy else None,
        val_mean_class=accuracy.mean_class if accuracy else None,
        clips_per_second=trained.clips_per_second,
        wait=trained.wait,
        memory_gib=None if trained.memory is None else trained.memory / 2**30,
        seconds=seconds,
    )


class Meter:
    """Loss, accuracy and speed of one epoch, of all processes. Reads from the device only when asked.

    Args:
        epoch: from 1.
        done: steps of the epoch that were made before, by a run that was stopped.
        steps: in the epoch.
        sums: of the steps made before: loss, right answers, clips; of the first process alone.
        peers: who takes part; all of them `read` at the same step.
        device: where the sums are kept.
    """

    def __init__(
        self,
        epoch: int,
        *,
        done: int,
        steps: int,
        sums: torch.Tensor | None,
        peers: Peers,
        device: torch.device,
    ) -> None:
        self.epoch, self.step, self.steps, self.peers, self.device = epoch, done, steps, peers, device
        self.sums = torch.zeros(3, dtype=torch.float64, device=device)
        if sums is not None and peers.first:
            self.sums += sums.to(device)
        self.lr, self.clips = 0.0, 0
        self.waited = 0.0  # seconds for data, told by who waits
        self.started = time.monotonic()

    def add(self, made: Made, labels: torch.Tensor, *, lr: float) -> None:
        """One step, and the labels [B] of its batch. What came to nothing does not count."""
        self.step, self.lr = self.step + 1, lr
        self.clips += len(labels)
        right = (made.logits.argmax(1) == labels).sum()
        new = torch.stack([made.loss * len(labels), right, torch.full_like(made.loss, len(labels))]).double()
        self.sums += torch.where(made.bad.bool(), torch.zeros_like(new), new)

    def total(self) -> torch.Tensor:
        """The sums of all processes, on the CPU."""
        return torch.stack(self.peers.gather(self.sums.cpu())).sum(0)

    def read(self) -> Progress:
        """Where the epoch stands; the device has done all steps by then."""
        loss, right, clips = self.total().tolist()
        seconds = max(1e-9, time.monotonic() - self.started)
        gpu = self.device.type == "cuda"
        return Progress(
            epoch=self.epoch,
            step=self.step,
            steps=self.steps,
            loss=loss / max(1, clips),
            top1=right / max(1, clips),
            lr=self.lr,
            clips_per_second=self.clips * self.peers.world / seconds,
            wait=self.waited / seconds,
            memory=torch.cuda.max_memory_allocated(self.device) if gpu else None,
        )

"""What a training tells while it runs, as values."""

from dataclasses import dataclass

from tanet.data.loader import BadVideo
from tanet.data.samples import Split
from tanet.errors import abbreviate
from tanet.evaluation.report import Report
from tanet.runtime.events import Note
from tanet.training.plan import Plan

PROGRESS_INTERVAL = 0.5  # seconds between two reports of progress


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
        videos = abbreviate(self.videos)
        return f"loss or gradient not finite in epoch {self.epoch}, step {self.step}, with {videos}"


Event = Split | Plan | Note | BadVideo | BadStep | Progress | EpochResult
"""What a training tells."""


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

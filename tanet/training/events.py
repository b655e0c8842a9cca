"""Dataclasses for the events that a training run passes to `on_event`."""

from dataclasses import dataclass

from tanet.data.loader import BadVideo
from tanet.data.samples import Split
from tanet.errors import abbreviate
from tanet.evaluation.evaluate import VideosDone
from tanet.evaluation.report import Report
from tanet.runtime.events import Note
from tanet.runtime.events import Progress as DownloadProgress
from tanet.training.plan import Plan

PROGRESS_INTERVAL = 0.5  # seconds between two reports of progress


@dataclass(frozen=True)
class Progress:
    """The progress of training within an epoch."""

    epoch: int
    """Number of the epoch, from 1."""
    step: int
    """Steps done in this epoch."""
    steps: int
    """Steps per epoch."""
    loss: float
    top1: float
    """Top-1 accuracy, from 0 to 1. Both `loss` and `top1` are averages over the epoch so far."""
    lr: float
    """Learning rate of the last step."""
    clips_per_second: float
    """Clips per second of all ranks together, since the start of the epoch or the resume of the run."""
    wait: float
    """Fraction of its time that this process spent waiting for data.

    The time counts from the start of the epoch or the resume of the run.
    """
    memory: int | None
    """Peak memory allocated on this process's GPU, in bytes; None on a CPU."""


@dataclass(frozen=True)
class EpochResult:
    """The results of one epoch, which form one line of metrics.csv. Accuracies are from 0 to 1.

    Validation uses one view per video. In an epoch without validation, the `val_` fields are None.
    """

    epoch: int
    lr: float
    train_loss: float
    train_top1: float
    val_top1: float | None
    val_top5: float | None
    val_mean_class: float | None
    clips_per_second: float
    wait: float
    """Fraction of the epoch's time that was spent waiting for data."""
    memory_gib: float | None
    """Peak memory allocated on the GPU, in GiB; None on a CPU."""
    seconds: float
    """Training time since the start of the run. The time between a stop and a resume does not count."""


@dataclass(frozen=True)
class BadStep:
    """A step that was skipped because its loss or gradient was not finite."""

    epoch: int
    step: int
    """Number of the step within the epoch. Both `epoch` and `step` count from 1."""
    videos: tuple[str, ...]
    """Videos in the batches of the ranks whose loss was not finite.

    If the loss was finite on all ranks and only the gradient was not, these are the videos of all ranks.
    """

    def __str__(self) -> str:
        videos = abbreviate(self.videos)
        return f"loss or gradient not finite in epoch {self.epoch}, step {self.step}, with {videos}"


Event = Split | Plan | Note | BadVideo | BadStep | DownloadProgress | Progress | VideosDone | EpochResult
"""An event of a training run. A `VideosDone` reports the progress of a validation."""


def epoch_result(trained: Progress, val: Report | None, *, lr: float, seconds: float) -> EpochResult:
    """Build the result of an epoch from its training progress and its validation report, if any."""
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

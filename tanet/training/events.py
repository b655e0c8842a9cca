"""The events that a training run emits, as plain values."""

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
    """The progress of training within an epoch."""

    epoch: int
    """Number of the epoch, from 1."""
    step: int
    """Steps done in this epoch."""
    steps: int
    """Steps per epoch."""
    loss: float
    top1: float
    """Top-1 accuracy, as a fraction. `loss` and `top1` are means over the epoch so far."""
    lr: float
    """Learning rate of the last step."""
    clips_per_second: float
    """Speed of all ranks together, since the start of the epoch or since the run was resumed."""
    wait: float
    """Fraction of the same time that this process spent waiting for data."""
    memory: int | None
    """Peak memory allocated on this process's GPU, in bytes; None on a CPU."""


@dataclass(frozen=True)
class EpochResult:
    """One line of metrics.csv. Accuracies are fractions.

    Validation uses one view per video; its accuracies are None in an epoch without validation.
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
    """Fraction of the epoch's time spent waiting for data."""
    memory_gib: float | None
    """Peak memory allocated on the GPU, in GiB; None on a CPU."""
    seconds: float
    """Time since the start of training, excluding the pauses between a stop and a resume."""


@dataclass(frozen=True)
class BadStep:
    """A step that was skipped because its loss or gradient was not finite."""

    epoch: int
    step: int
    """Number of the step in its epoch; `epoch` and `step` count from 1."""
    videos: tuple[str, ...]
    """Videos in the batches of ranks whose loss was not finite, or of all ranks if all losses were finite."""

    def __str__(self) -> str:
        videos = abbreviate(self.videos)
        return f"loss or gradient not finite in epoch {self.epoch}, step {self.step}, with {videos}"


Event = Split | Plan | Note | BadVideo | BadStep | Progress | EpochResult
"""An event of a training run."""


def epoch_result(trained: Progress, val: Report | None, *, lr: float, seconds: float) -> EpochResult:
    """Combine the training progress of an epoch and the report of its validation, if there was one."""
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

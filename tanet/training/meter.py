"""Meter for the loss, accuracy and speed of an epoch, over all ranks."""

import time
from collections.abc import Iterable, Iterator

import torch

from tanet.data.loader import Batch
from tanet.data.prefetch import timed
from tanet.runtime.distributed import ProcessGroup
from tanet.training.events import Progress
from tanet.training.step import StepResult


class Meter:
    """Meter for the loss, accuracy and speed of one epoch, over all ranks.

    Only the methods `total` and `read` wait for the GPU.

    Args:
        epoch: number of the epoch, from 1.
        done: number of steps of this epoch that were made before the run was stopped and resumed.
        steps: number of steps in the epoch.
        sums: sums of the loss, of correct predictions and of clips over the first `done` steps and all ranks.
            Only rank 0 adds these sums, so that they count once.
        group: the ranks. All ranks must call `total` and `read` at the same step.
        device: device on which the meter keeps its sums.
    """

    def __init__(
        self,
        epoch: int,
        *,
        done: int,
        steps: int,
        sums: torch.Tensor | None,
        group: ProcessGroup,
        device: torch.device,
    ) -> None:
        self.epoch, self.step, self.steps, self.group, self.device = epoch, done, steps, group, device
        self.sums = torch.zeros(3, dtype=torch.float64, device=device)
        if sums is not None and group.is_main:
            self.sums += sums.to(device)
        self.lr, self.clips = 0.0, 0
        self.waited = 0.0  # seconds
        self.started = time.monotonic()

    def timed(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield the batches, and measure the time spent waiting for each batch."""

        def add(seconds: float) -> None:
            self.waited += seconds

        return timed(batches, add)

    def add(self, result: StepResult, labels: torch.Tensor, *, lr: float) -> None:
        """Add the result of a step and the labels [B] of its batch.

        A skipped step does not count in the loss and the accuracy.
        """
        self.step, self.lr = self.step + 1, lr
        self.clips += len(labels)
        correct = (result.logits.argmax(1) == labels).sum()
        count = torch.full_like(result.loss, len(labels))
        new = torch.stack([result.loss * len(labels), correct, count]).double()
        self.sums += torch.where(result.bad.bool(), torch.zeros_like(new), new)

    def total(self) -> torch.Tensor:
        """Return the sums of the loss, of correct predictions and of clips over all ranks, on the CPU."""
        return torch.stack(self.group.all_gather_objects(self.sums.cpu())).sum(0)

    def read(self) -> Progress:
        """Wait for the GPU, and return the progress of the epoch."""
        loss, correct, clips = self.total().tolist()
        seconds = max(1e-9, time.monotonic() - self.started)
        gpu = self.device.type == "cuda"
        return Progress(
            epoch=self.epoch,
            step=self.step,
            steps=self.steps,
            loss=loss / max(1, clips),
            top1=correct / max(1, clips),
            lr=self.lr,
            clips_per_second=self.clips * self.group.world_size / seconds,
            wait=self.waited / seconds,
            memory=torch.cuda.max_memory_allocated(self.device) if gpu else None,
        )

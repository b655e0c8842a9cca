"""The meter of an epoch: loss, accuracy and speed, over all ranks."""

import time

import torch

from tanet.runtime.distributed import Peers
from tanet.training.events import Progress
from tanet.training.step import Made


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

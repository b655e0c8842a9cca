"""Steps whose loss or gradient was not finite: named with their videos, and the device not waited for."""

from dataclasses import dataclass
from typing import Literal

import torch

from tanet.runtime.distributed import ProcessGroup, RankError
from tanet.runtime.events import OnEvent
from tanet.training.events import BadStep
from tanet.training.step import StepResult

MAX_IN_A_ROW = 20  # such steps are no accident: nothing is learned any more


@dataclass(frozen=True)
class _Step:
    epoch: int
    step: int
    videos: tuple[str, ...]
    bad: torch.Tensor
    loss: torch.Tensor


class NonFiniteMonitor:
    """Keeps the steps' flags on the device until they are asked for.

    Args:
        choice: "stop" ends the run at the first such step, "skip" goes on without it.
        group: all of them `check` at the same step.
        on_event: is told each `BadStep`.
    """

    def __init__(self, choice: Literal["stop", "skip"], *, group: ProcessGroup, on_event: OnEvent) -> None:
        self.choice, self.group, self.on_event = choice, group, on_event
        self.pending: list[_Step] = []
        self.in_a_row = 0

    def add(self, epoch: int, step: int, videos: tuple[str, ...], result: StepResult) -> None:
        """Remember a step; both numbers from 1."""
        self.pending.append(_Step(epoch, step, videos, result.bad, result.loss))

    def check(self) -> None:
        """Look at the steps since the last time. A bad one has moved nothing.

        Raises:
            RankError: one was bad and the choice is "stop", or too many were in a row.
        """
        steps, self.pending = self.pending, []
        if not steps:
            return
        flags = torch.stack([step.bad for step in steps]).tolist()  # the same in all processes
        for step, bad in zip(steps, flags, strict=True):
            self.in_a_row = self.in_a_row + 1 if bad else 0
            if not bad:
                continue
            event = BadStep(step.epoch, step.step, self._videos(step))
            if self.choice == "stop":
                raise RankError(
                    f"{event}: look at them; --resume with --optim.nonfinite skip goes on without such "
                    "steps; a lower learning rate (--optim.lr) is another training, with another --out"
                )
            self.on_event(event)
            if self.in_a_row == MAX_IN_A_ROW:
                raise RankError(f"{MAX_IN_A_ROW} steps in a row came to nothing, the last: {event}")

    def _videos(self, step: _Step) -> tuple[str, ...]:
        """Of the processes whose own loss was not finite; of all if it was the gradient."""
        told = self.group.all_gather_objects((step.videos, bool(step.loss.isfinite())))
        guilty = [videos for videos, finite in told if not finite] or [videos for videos, _ in told]
        return tuple(video for videos in guilty for video in videos)

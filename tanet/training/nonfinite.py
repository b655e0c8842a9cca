"""Report the steps whose loss or gradient was not finite, and the videos of these steps.

Each step leaves a flag on the GPU. `check` reads the flags of many steps at once, so training does not wait
for the GPU at each step.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from tanet.runtime.distributed import ProcessGroup, RankError
from tanet.runtime.events import OnEvent
from tanet.training.events import BadStep
from tanet.training.step import StepResult

# End the run after MAX_IN_A_ROW skipped steps in a row, because the network no longer learns.
MAX_IN_A_ROW = 20


@dataclass(frozen=True)
class _Step:
    epoch: int
    step: int
    videos: tuple[str, ...]
    bad: torch.Tensor
    loss: torch.Tensor


class NonFiniteMonitor:
    """Monitor for bad steps. A step is bad if its loss or gradient was not finite (`StepResult.bad`).

    Args:
        choice: "stop" ends the run at the first bad step; "skip" continues without that step.
        group: the ranks. All ranks must call `check` at the same step.
        on_event: receives a `BadStep` for each bad step.
    """

    def __init__(self, choice: Literal["stop", "skip"], *, group: ProcessGroup, on_event: OnEvent) -> None:
        self.choice, self.group, self.on_event = choice, group, on_event
        self.pending: list[_Step] = []
        self.in_a_row = 0

    def add(self, epoch: int, step: int, videos: tuple[str, ...], result: StepResult) -> None:
        """Record a step. `epoch` and `step` count from 1."""
        self.pending.append(_Step(epoch, step, videos, result.bad, result.loss))

    def check(self) -> None:
        """Report each bad step since the last call. A bad step has not changed the network.

        Raises:
            RankError: a step was bad and `choice` is "stop", or `MAX_IN_A_ROW` steps in a row were bad.
        """
        steps, self.pending = self.pending, []
        if not steps:
            return
        flags = torch.stack([step.bad for step in steps]).tolist()  # the same on all ranks
        for step, bad in zip(steps, flags, strict=True):
            self.in_a_row = self.in_a_row + 1 if bad else 0
            if not bad:
                continue
            event = BadStep(step.epoch, step.step, self._videos(step))
            if self.choice == "stop":
                raise RankError(
                    f"{event}: inspect these videos; to skip such steps, use --resume with --optim.nonfinite "
                    "skip; to lower the learning rate (--optim.lr), start a new run with another --out"
                )
            self.on_event(event)
            if self.in_a_row == MAX_IN_A_ROW:
                raise RankError(
                    f"training stopped, because {MAX_IN_A_ROW} steps in a row were skipped (last: {event})"
                )

    def _videos(self, step: _Step) -> tuple[str, ...]:
        """Return the videos of a step, but only from the ranks whose loss was not finite.

        If the loss was finite on all ranks, return the videos from all ranks.
        """
        told = self.group.all_gather_objects((step.videos, bool(step.loss.isfinite())))
        guilty = [videos for videos, finite in told if not finite] or [videos for videos, _ in told]
        return tuple(video for videos in guilty for video in videos)

"""Estimate how long a training run still takes, from the events that the run reports.

    seconds per step = time between the first and the last report / steps between them
    time left        = steps left · seconds per step + validations left · seconds per validation

The estimate uses the last ten minutes of training, so it follows a machine that becomes slower or faster.
Until the first validation has been measured, a validation video counts as much as half a training clip.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tanet.evaluation.evaluate import VideosDone
from tanet.training.events import EpochResult, Event, Progress
from tanet.training.plan import Plan

WINDOW = 600.0  # seconds of training that an estimate uses
LEAST_STEPS, LEAST_SECONDS = 3, 5.0  # an estimate needs so many steps and so much time
VALIDATION = 0.5  # time for a validation video, as a fraction of the time for a training clip


@dataclass(frozen=True)
class TimeLeft:
    """Estimated times of a training run, in seconds."""

    epoch: float
    """Time until the end of the epoch, including its validation."""
    run: float
    """Time until the end of the run."""
    total: float
    """Time that the run takes from its start, or from its resume, to its end."""


class TimeEstimator:
    """Estimator of the time that a training run still takes. Pass it every event of the run.

    Args:
        clock: function that returns the time in seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.started = clock, clock()
        self.plan: Plan | None = None
        # Times and steps of the reports. The times do not count validations and the writing of checkpoints.
        self.reports: deque[tuple[float, int]] = deque()
        self.at: Progress | None = None
        self.last, self.outside = self.started, 0.0
        # Seconds between the last step of an epoch and the epoch's result: with and without a validation.
        self.validation: float | None = None
        self.pause = 0.0

    def __call__(self, event: Event) -> TimeLeft | None:
        """Take account of an event, and return the time left, or None as long as it is unknown."""
        now = self.clock()
        if isinstance(event, Plan):
            self.plan = event
        elif isinstance(event, EpochResult):
            self.outside += now - self.last
            if event.val_top1 is not None:
                self.validation = now - self.last
            else:
                self.pause = now - self.last
        elif isinstance(event, Progress):
            self.at, self.last = event, now
            self.reports.append((now - self.outside, (event.epoch - 1) * event.steps + event.step))
            while now - self.outside - self.reports[0][0] > WINDOW and len(self.reports) > 2:
                self.reports.popleft()
            return self._estimate(now)
        elif isinstance(event, VideosDone) and event.done:
            # The validation has taken this share of its time.
            return self._estimate(now, validation=(now - self.last) * event.total / event.done)
        return None

    def _estimate(self, now: float, *, validation: float | None = None) -> TimeLeft | None:
        """Estimate the time left. `validation` is the time for the whole validation that is under way."""
        at, plan = self.at, self.plan
        if not at or not plan:
            return None
        (begin, first), (end, last) = self.reports[0], self.reports[-1]
        if last - first < LEAST_STEPS or end - begin < LEAST_SECONDS:
            return None
        step = (end - begin) / (last - first)
        if validation is None:
            validation = self.validation
        if validation is None:
            validation = VALIDATION * step * plan.val / plan.batch
        later = sum(epoch > at.epoch for epoch in plan.validated)
        rest = plan.epochs - at.epoch
        after_step = validation if at.epoch in plan.validated else self.pause
        epoch = max(0.0, (at.steps - at.step) * step + after_step - (now - self.last))
        run = epoch + rest * at.steps * step + later * validation + (rest - later) * self.pause
        return TimeLeft(epoch, run, now - self.started + run)

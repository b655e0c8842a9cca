"""The time left follows the measured steps and validations, and a machine that changes its speed."""

import dataclasses

import pytest

from tanet.evaluation.evaluate import VideosDone
from tanet.training.events import EpochResult, Progress
from tanet.training.plan import plan
from tanet.training.time_left import TimeEstimator, TimeLeft
from tests.support.tiny_videos import TINY, changed
from tests.training.test_plan import videos

RESULT = EpochResult(1, 0.01, 0.5, 0.5, None, None, None, 4.0, 0.0, None, 60.0)


class Run:
    """A training of 6 steps of 4 clips per epoch, on 24 training and 8 validation videos."""

    def __init__(self, **sections):
        self.now = 0.0
        self.estimate = TimeEstimator(clock=lambda: self.now)
        self.estimate(plan(changed(TINY, **sections), videos(train=24, val=8)))

    def steps(self, epoch, *, seconds, first=1, last=6):
        found = None
        for step in range(first, last + 1):
            self.now += seconds
            found = self.estimate(Progress(epoch, step, 6, 0.5, 0.5, 0.01, 4.0, 0.0, None))
        return found

    def left(self, epoch, **steps) -> TimeLeft:
        """Make steps, and return the estimate, which must be known."""
        found = self.steps(epoch, **steps)
        assert found
        return found

    def finish(self, epoch, *, seconds, val=None):
        self.now += seconds
        self.estimate(dataclasses.replace(RESULT, epoch=epoch, val_top1=val))


def test_nothing_is_known_before_three_steps_and_five_seconds():
    assert Run().steps(1, seconds=10, last=3) is None
    assert Run().steps(1, seconds=10, last=4) is not None
    assert Run().steps(1, seconds=1) is not None
    assert Run().steps(1, seconds=0.9) is None


def test_time_left_counts_steps_and_validations():
    run = Run(optim={"epochs": 4}, eval={"every": 2})
    left = run.left(1, seconds=10, last=4)
    # 2 and 18 steps of 10 s; two validations of 8 videos, each half as long as a clip: 8 · 5 s / 4
    assert (left.epoch, left.run, left.total) == pytest.approx((20, 200 + 2 * 10, 40 + 220))
    run.steps(1, first=5, seconds=10)
    run.finish(1, seconds=2)  # without validation
    run.steps(2, seconds=10)
    run.finish(2, seconds=50, val=0.5)
    left = run.left(3, seconds=10, last=1)
    assert (left.epoch, left.run) == pytest.approx((50 + 2, 50 + 2 + 60 + 50))
    assert left.total == pytest.approx(run.now + left.run)


def test_running_validation_measures_itself():
    run = Run(optim={"epochs": 1})
    run.steps(1, seconds=10)
    run.now += 30
    left = run.estimate(VideosDone(2, 8))
    assert left
    assert left.epoch == left.run == pytest.approx(90)


def test_first_step_may_be_slow():
    """The first step also starts the workers and compiles the network, so it is not measured."""
    run = Run(optim={"epochs": 1}, eval={"every": 1})
    run.steps(1, seconds=300, last=1)
    left = run.left(1, seconds=10, first=2, last=5)
    assert left.run == pytest.approx(10 + 10)


def test_estimate_follows_slower_machine():
    run = Run(optim={"epochs": 60})
    for epoch in range(1, 20):
        run.steps(epoch, seconds=10)
    left = run.left(20, seconds=100, last=6)
    assert left.run > 40 * 6 * 50

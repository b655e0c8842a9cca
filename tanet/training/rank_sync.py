"""Agreement of the ranks between two steps: if one must stop, save or report, all do."""

import time
from dataclasses import dataclass

from tanet.errors import UserError
from tanet.runtime.distributed import ProcessGroup
from tanet.runtime.interrupt import StopRequest


@dataclass(frozen=True)
class StepDecision:
    """The decision about what to do before the next step, the same on all ranks."""

    over: bool
    """End the epoch, because a rank has no batch left."""
    stop: bool
    """Save the state and stop training."""
    save: bool
    """Save the state."""
    report: bool
    """Report progress."""


class RankSync:
    """Agreement of all ranks before each step, with a single all-reduce.

    Args:
        group: the ranks.
        stop: a request to stop; any rank may have received it.
        save_after: seconds between two saved states.
        report_after: seconds between two reports of progress.
    """

    def __init__(
        self, *, group: ProcessGroup, stop: StopRequest, save_after: float, report_after: float
    ) -> None:
        self.group, self.stop, self.save_after, self.report_after = group, stop, save_after, report_after
        self.saved = self.reported = time.monotonic()

    def __call__(self, *, over: bool, failed: UserError | None, news: bool) -> StepDecision:
        """Agree with the other ranks on what to do. All ranks call this together.

        Args:
            over: whether this rank has no batch left.
            failed: the error that prevented a batch, if any.
            news: whether there is progress to report.

        Raises:
            UserError: `failed`, if there is only one process.
            RankError: the error of any rank, if there are several ranks.
        """
        now = time.monotonic()
        wrong, ends, stops, saves, reports = self.group.all_reduce_max(
            failed is not None,
            over,
            self.stop.asked,
            now - self.saved > self.save_after,
            news and now - self.reported > self.report_after,
        )
        if wrong:
            self.group.raise_on_all_ranks(failed)
        if reports:
            self.reported = now
        return StepDecision(
            over=bool(ends), stop=bool(stops), save=bool(stops or saves), report=bool(reports)
        )

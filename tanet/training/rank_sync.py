"""Agreement of the ranks between two steps: if one rank must stop, save or report, all ranks do."""

import time
from dataclasses import dataclass

from tanet.errors import UserError
from tanet.runtime.distributed import ProcessGroup
from tanet.runtime.interrupt import StopRequest


@dataclass(frozen=True)
class StepDecision:
    """Decision about what to do before the next step. All ranks get the same decision."""

    over: bool
    """Whether to end the epoch, because a rank has no batch left."""
    stop: bool
    """Whether to save the state and then stop training."""
    save: bool
    """Whether to save the state."""
    report: bool
    """Whether to report progress."""


class RankSync:
    """Function that the ranks call before each step to agree on what to do. One call is one all-reduce.

    Args:
        group: the ranks.
        stop: this rank's request to stop (Ctrl-C or SIGTERM). A request on one rank stops all ranks.
        save_after: seconds between two saved states.
        report_after: seconds between two reports of progress.
    """

    def __init__(
        self, *, group: ProcessGroup, stop: StopRequest, save_after: float, report_after: float
    ) -> None:
        self.group, self.stop, self.save_after, self.report_after = group, stop, save_after, report_after
        self.saved = self.reported = time.monotonic()

    def __call__(self, *, over: bool, failed: UserError | None, news: bool) -> StepDecision:
        """Agree with the other ranks on what to do. All ranks must call this method together.

        Args:
            over: whether this rank has no batch left in the epoch.
            failed: the error that occurred when this rank read its next batch; None without an error.
            news: whether this rank has progress to report.

        Raises:
            UserError: in a single process, the error `failed`.
            RankError: with several ranks, the error `failed` of any rank.
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

"""Between two steps the ranks agree: if one must stop, save or report, all do."""

import time
from dataclasses import dataclass

from tanet.errors import UserError
from tanet.runtime.distributed import ProcessGroup
from tanet.runtime.interrupt import StopRequest


@dataclass(frozen=True)
class StepDecision:
    """What happens before the next step, the same on all ranks."""

    over: bool
    """The epoch ends: a rank has no batch left."""
    stop: bool
    """The training stops, with its state saved."""
    save: bool
    """The state is saved."""
    report: bool
    """Progress is reported."""


class RankSync:
    """Asks all ranks once a step, with one message.

    Args:
        group: the ranks.
        stop: a request to stop; any rank may have received it.
        save_after: seconds between two states.
        report_after: seconds between two reports of progress.
    """

    def __init__(
        self, *, group: ProcessGroup, stop: StopRequest, save_after: float, report_after: float
    ) -> None:
        self.group, self.stop, self.save_after, self.report_after = group, stop, save_after, report_after
        self.saved = self.reported = time.monotonic()

    def __call__(self, *, over: bool, failed: UserError | None, news: bool) -> StepDecision:
        """Agree with the other ranks, which all come here.

        Args:
            over: this rank has no batch for a step.
            failed: why, if that is an error.
            news: there is progress to report.

        Raises:
            UserError: what failed here.
            RankError: what failed on another rank.
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

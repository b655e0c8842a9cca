"""What the processes of a training do between two steps: what one of them must or wants, all do."""

import time
from dataclasses import dataclass

from tanet.runtime.distributed import Peers
from tanet.runtime.interrupt import StopRequest


@dataclass(frozen=True)
class Agreed:
    """The same in all processes."""

    over: bool
    """The epoch ends: a process has no batch left."""
    stop: bool
    """The training stops, its state saved."""
    save: bool
    """The state is saved."""
    tell: bool
    """Progress is told."""


class Agreement:
    """Asks all processes, once a step and with one message.

    Args:
        peers: the processes.
        stop: the wish to stop; any of them may have got it.
        save_after: seconds between two states.
        tell_after: seconds between two reports of progress.
    """

    def __init__(self, *, peers: Peers, stop: StopRequest, save_after: float, tell_after: float) -> None:
        self.peers, self.stop, self.save_after, self.tell_after = peers, stop, save_after, tell_after
        self.saved = self.told = time.monotonic()

    def __call__(self, *, over: bool, failed: ValueError | None, news: bool) -> Agreed:
        """Agree; all processes come here.

        Args:
            over: this one has no batch for a step.
            failed: why, if that is an error.
            news: there is progress to tell of.

        Raises:
            ValueError: what failed here.
            PeerError: what failed in one of several processes.
        """
        now = time.monotonic()
        wrong, ends, stops, saves, tells = self.peers.largest(
            failed is not None,
            over,
            self.stop.asked,
            now - self.saved > self.save_after,
            news and now - self.told > self.tell_after,
        )
        if wrong:
            self.peers.share_error(failed)
        if tells:
            self.told = now
        return Agreed(over=bool(ends), stop=bool(stops), save=bool(stops or saves), tell=bool(tells))

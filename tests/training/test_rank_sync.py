"""Between two steps: what one process must or wants, all do; states and reports come when it is time."""

from dataclasses import dataclass

import pytest

from tanet.runtime.distributed import ALONE, PeerError, Peers
from tanet.runtime.interrupt import StopRequest
from tanet.training.rank_sync import Agreement


@dataclass(frozen=True)
class Two(Peers):
    """The first of two processes; of the second it is told what it says: failed, over, stop, save, tell."""

    rank: int = 0
    world: int = 2
    other: tuple = (0, 0, 0, 0, 0)

    def largest(self, *values):
        return [max(pair) for pair in zip(values, self.other, strict=True)]

    def gather(self, value):
        return [value, "bad.mp4: no video" if self.other[0] else None]


def agreement(peers, *, save_after=100.0, tell_after=100.0):
    return Agreement(peers=peers, stop=StopRequest(), save_after=save_after, tell_after=tell_after)


@pytest.mark.parametrize(("place", "name"), list(enumerate(["over", "stop", "save", "tell"], 1)))
def test_what_the_other_wants_this_one_does(place, name):
    peers = Two(other=tuple(int(number == place) for number in range(5)))
    agreed = agreement(peers)(over=False, failed=None, news=True)
    wanted = {name, "save"} if name == "stop" else {name}
    assert {key for key in ("over", "stop", "save", "tell") if getattr(agreed, key)} == wanted


def test_what_failed_in_one_is_raised():
    with pytest.raises(PeerError, match=r"process 1 of 2: bad\.mp4: no video"):
        agreement(Two(other=(1, 0, 0, 0, 0)))(over=False, failed=None, news=False)
    with pytest.raises(ValueError, match=r"^mine$"):
        agreement(ALONE)(over=True, failed=ValueError("mine"), news=False)


def test_states_and_reports_when_it_is_time():
    agree = agreement(ALONE, save_after=-1.0, tell_after=-1.0)
    agreed = agree(over=False, failed=None, news=False)
    assert (agreed.save, agreed.tell) == (True, False)  # there is no progress to tell of
    assert agree(over=False, failed=None, news=True).tell
    agree = agreement(ALONE)
    assert agree(over=True, failed=None, news=True).over
    agree.saved, agree.told = agree.saved - 200, agree.told - 200
    agreed = agree(over=False, failed=None, news=True)
    assert (agreed.save, agreed.tell, agreed.stop, agreed.over) == (True, True, False, False)
    assert not agree(over=False, failed=None, news=True).tell

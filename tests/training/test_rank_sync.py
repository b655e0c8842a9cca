"""Between two steps the ranks agree: if one must stop, save or report, all do."""

from dataclasses import dataclass

import pytest

from tanet.runtime.distributed import SINGLE_PROCESS, ProcessGroup, RankError
from tanet.runtime.interrupt import StopRequest
from tanet.training.rank_sync import RankSync


@dataclass(frozen=True)
class FirstOfTwoRanks(ProcessGroup):
    """Rank 0 of 2 without a rank 1: `other` holds the flags of rank 1: failed, over, stop, save, report."""

    rank: int = 0
    world_size: int = 2
    other: tuple = (0, 0, 0, 0, 0)

    def all_reduce_max(self, *values):
        return [max(pair) for pair in zip(values, self.other, strict=True)]

    def all_gather_objects(self, value):
        return [value, "bad.mp4: no video" if self.other[0] else None]


def make_sync(group, *, save_after=100.0, report_after=100.0):
    return RankSync(group=group, stop=StopRequest(), save_after=save_after, report_after=report_after)


@pytest.mark.parametrize(("index", "name"), list(enumerate(["over", "stop", "save", "report"], 1)))
def test_rank_follows_request_of_other_rank(index, name):
    group = FirstOfTwoRanks(other=tuple(int(number == index) for number in range(5)))
    agreed = make_sync(group)(over=False, failed=None, news=True)
    wanted = {name, "save"} if name == "stop" else {name}
    assert {key for key in ("over", "stop", "save", "report") if getattr(agreed, key)} == wanted


def test_error_of_one_rank_is_raised_on_all():
    with pytest.raises(RankError, match=r"process 1 of 2: bad\.mp4: no video"):
        make_sync(FirstOfTwoRanks(other=(1, 0, 0, 0, 0)))(over=False, failed=None, news=False)
    with pytest.raises(ValueError, match=r"^mine$"):
        make_sync(SINGLE_PROCESS)(over=True, failed=ValueError("mine"), news=False)


def test_states_and_reports_follow_their_intervals():
    agree = make_sync(SINGLE_PROCESS, save_after=-1.0, report_after=-1.0)
    agreed = agree(over=False, failed=None, news=False)
    assert (agreed.save, agreed.report) == (True, False)  # there is no progress to report
    assert agree(over=False, failed=None, news=True).report
    agree = make_sync(SINGLE_PROCESS)
    assert agree(over=True, failed=None, news=True).over
    agree.saved, agree.reported = agree.saved - 200, agree.reported - 200
    agreed = agree(over=False, failed=None, news=True)
    assert (agreed.save, agreed.report, agreed.stop, agreed.over) == (True, True, False, False)
    assert not agree(over=False, failed=None, news=True).report

"""Run the fastest of several ways to compute the same result. Each shape is measured once per process."""

from collections.abc import Callable, Hashable, Mapping
from statistics import median
from typing import TypeVar

import torch

T = TypeVar("T")
ROUNDS, CALLS = 3, 5  # the ways take turns for this many rounds of this many timed calls
_fastest: dict[Hashable, str] = {}


def run_fastest(key: Hashable, ways: dict[str, Callable[[], T]]) -> T:
    """Compute a result on a GPU in the way that is fastest for this key.

    The first call with a key times all ways. While a CUDA graph is captured, nothing can be timed, so an
    unknown key runs the first way. The first way also runs if `torch.backends.cudnn.deterministic` is set,
    because the ways round differently.

    Args:
        key: everything that the time depends on: the operation, the shapes, the data type, the device.
        ways: names and functions. The first way must always work; others may raise RuntimeError, for example
            if cuDNN has no such kernel.
    """
    first = next(iter(ways))
    if key not in _fastest:
        cuda = torch.cuda
        measurable = cuda.is_available() and not cuda.is_current_stream_capturing()
        if len(ways) == 1 or torch.backends.cudnn.deterministic or not measurable:
            return ways[first]()
        _fastest[key] = _measure(ways)
    return ways[_fastest[key]]()


def _measure(ways: Mapping[str, Callable[[], object]]) -> str:
    """Return the name of the way with the lowest median time."""
    working = {}
    for number, (name, way) in enumerate(ways.items()):
        try:
            for _ in range(3):
                way()
        except RuntimeError as error:
            if number == 0 or isinstance(error, torch.OutOfMemoryError):
                raise
            continue
        working[name] = way
    times: dict[str, list[float]] = {name: [] for name in working}
    for _ in range(ROUNDS):
        for name, way in working.items():
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            for _ in range(CALLS):
                way()
            end.record()
            end.synchronize()
            times[name].append(start.elapsed_time(end))
    return min(times, key=lambda name: median(times[name]))

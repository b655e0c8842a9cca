"""Run the fastest of several ways to compute the same result. Each shape is measured once per process."""

import time
from collections.abc import Callable, Hashable, Mapping
from statistics import median
from typing import TypeVar

import torch

T = TypeVar("T")
ROUNDS, CALLS = 3, 5  # the ways take turns for this many rounds of this many timed calls
CLOCK = 2e9  # cycles per second of a GPU, roughly
_fastest: dict[Hashable, str] = {}


def run_fastest(key: Hashable, ways: dict[str, Callable[[], T]]) -> T:
    """Compute a result on a GPU in the way that is fastest for this key.

    The first call with a key times all ways. While a CUDA graph is captured, nothing can be timed, so an
    unknown key runs the first way. The first way also runs if PyTorch is told to be deterministic, because
    the ways round differently.

    Args:
        key: everything that the time depends on: the operation, the shapes, the data type, the device.
        ways: names and functions. The first way must always work. Others may fail, for example if cuDNN has
            no such kernel, or if a kernel needs more shared memory than the GPU has.
    """
    first = next(iter(ways))
    if key not in _fastest:
        cuda = torch.cuda
        measurable = cuda.is_available() and not cuda.is_current_stream_capturing()
        same = torch.backends.cudnn.deterministic or torch.are_deterministic_algorithms_enabled()
        if len(ways) == 1 or same or not measurable:
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
        except Exception as error:
            if number == 0 or not _unavailable(error):
                raise
            continue
        working[name] = way
    times: dict[str, list[float]] = {name: [] for name in working}
    for _ in range(ROUNDS):
        for name, way in working.items():
            times[name].append(_milliseconds(way))
    return min(times, key=lambda name: median(times[name]))


def _milliseconds(way: Callable[[], object]) -> float:
    """Time CALLS calls on the GPU.

    The GPU first waits until all calls are queued. Otherwise, small kernels would be timed by how fast Python
    launches them, which does not matter for a CUDA graph.
    """
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began = time.perf_counter()
    way()
    queueing = CALLS * (time.perf_counter() - began)
    torch.cuda._sleep(int(CLOCK * min(0.1, 2 * queueing + 1e-4)))
    start.record()
    for _ in range(CALLS):
        way()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def _unavailable(error: Exception) -> bool:
    """Return whether a way cannot run on this GPU. The name is that of Triton's error about shared memory."""
    return isinstance(error, RuntimeError) or type(error).__name__ == "OutOfResources"

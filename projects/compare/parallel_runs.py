"""Parallel trainings on one machine, for benchmarks of networks that are too small to fill it."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from multiprocessing.queues import SimpleQueue
from typing import TypeVar

import torch

from tanet.runtime.device import available_cores

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_parallel(
    run: Callable[[Job], Result], jobs: Iterable[Job], *, processes: int
) -> Iterator[tuple[Job, Result]]:
    """Run all jobs, and yield each with its result as it ends.

    The next job is requested only when a process is free, so the iterable can stop early, for instance when
    time is short. With `processes=1` the jobs run in this process. Several processes share the machine's
    cores; GPUs are assigned to them in rotation. If a job fails, its error is printed at once, and
    raised after all other jobs are done.
    """
    failed: list[Exception] = []

    def fail(job: Job, error: Exception) -> None:
        print(f"{job}: {error}", file=sys.stderr, flush=True)
        error.add_note(str(job))
        failed.append(error)

    if processes == 1:
        for job in jobs:
            try:
                found = run(job)
            except Exception as error:
                fail(job, error)
            else:
                yield job, found
    else:
        with _pool(processes) as pool:
            waiting, running = iter(jobs), dict[Future[Result], Job]()
            while True:
                while len(running) < processes and (job := next(waiting, None)) is not None:
                    running[pool.submit(run, job)] = job
                if not running:
                    break
                for ended in wait(running, return_when=FIRST_COMPLETED).done:
                    job, error = running.pop(ended), ended.exception()
                    if isinstance(error, Exception):
                        fail(job, error)
                    else:
                        yield job, ended.result()
    if failed:
        raise failed[0]


@contextmanager
def _pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Open a pool of processes that share the machine; an exception in the caller terminates them at once."""
    context = get_context("spawn")
    numbers: SimpleQueue[int] = context.SimpleQueue()
    for number in range(processes):
        numbers.put(number)
    places = (numbers, processes, torch.cuda.device_count())
    with ProcessPoolExecutor(processes, context, initializer=_take_place, initargs=places) as pool:
        try:
            yield pool
        except BaseException:
            for process in active_children():
                process.terminate()
            raise


class Timetable:
    """Time limit for jobs: start a job only if there is time left for one as long as the longest so far.

    Args:
        limit: seconds from now; None for no limit.
    """

    def __init__(self, limit: float | None) -> None:
        self.limit, self.begun = limit, time.monotonic()
        self.at: dict[int, float] = {}  # id of a job → seconds at which it began
        self.longest = 0.0

    def seconds(self) -> float:
        return time.monotonic() - self.begun

    def allows(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """Yield jobs until the next might not end in time; the caller starts each at once."""
        for job in jobs:
            if self.limit and self.seconds() + self.longest > self.limit:
                print(f"stopped after {self.limit:g} s; run the same command again to continue", flush=True)
                return
            self.at[id(job)] = self.seconds()
            yield job

    def ended(self, job: object) -> None:
        self.longest = max(self.longest, self.seconds() - self.at[id(job)])


def _take_place(numbers: "SimpleQueue[int]", processes: int, gpus: int) -> None:
    """Assign this process its GPU and its number of threads, before the first job."""
    number = numbers.get()
    if gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number % gpus]
    torch.set_num_threads(max(1, available_cores() // processes))

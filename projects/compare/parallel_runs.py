"""Several trainings at once on one machine, for networks that are too small to use all of it."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from multiprocessing import active_children, get_context
from multiprocessing.queues import SimpleQueue
from typing import TypeVar

import torch

from tanet.runtime.device import available_cores
from tanet.runtime.process_pool import end_with_parent

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_parallel(
    run: Callable[[Job], Result], jobs: Iterable[Job], *, processes: int
) -> Iterator[tuple[Job, Result]]:
    """Run all jobs. As soon as a job ends, yield the job and its result.

    The next job is taken from `jobs` only when a process is free. So `jobs` can end early, for example when
    time runs out. With `processes=1`, the jobs run in the calling process. Otherwise the processes share the
    machine's cores, and each process uses one of the GPUs, if there are any. If a job fails, its error is
    printed at once, and the other jobs still run. After the last job, the first error is raised.
    """
    failed: list[Exception] = []

    def fail(job: Job, error: Exception) -> None:
        print(f"{job}: {error}", file=sys.stderr, flush=True)
        error.add_note(str(job))
        traceback.clear_frames(error.__traceback__)  # they hold the job's networks
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
                    running[pool.submit(_run_here, run, job)] = job
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
    """Open a pool of processes that share the machine. If the caller raises, terminate the processes at once.

    Until they have ended, SIGINT and SIGTERM are ignored: a further signal would interrupt the shutdown, and
    processes would wait for jobs forever.
    """
    context = get_context("spawn")
    numbers: SimpleQueue[int] = context.SimpleQueue()
    for number in range(processes):
        numbers.put(number)
    places = (numbers, processes, torch.cuda.device_count())
    with (
        ExitStack() as at_end,
        ProcessPoolExecutor(processes, context, initializer=_take_place, initargs=places) as pool,
    ):
        try:
            yield pool
        except BaseException:
            for number in (signal.SIGINT, signal.SIGTERM):
                at_end.callback(signal.signal, number, signal.signal(number, signal.SIG_IGN))
            for process in active_children():
                process.terminate()
            raise


def _run_here(run: Callable[[Job], Result], job: Job) -> Result:
    """Run a job in a process of the pool."""
    try:
        return run(job)
    except BaseException as error:
        # The frames of the traceback hold the data loader, whose own processes must end before this one.
        traceback.clear_frames(error.__traceback__)
        raise


class Timetable:
    """Time limit for jobs. A job starts only if the time left is enough for the longest job so far.

    Args:
        limit: seconds from now; None for no limit.
    """

    def __init__(self, limit: float | None) -> None:
        self.limit, self.begun = limit, time.monotonic()
        self.at: dict[int, float] = {}  # id(job) → start of the job, in seconds since `begun`
        self.longest = 0.0

    def seconds(self) -> float:
        return time.monotonic() - self.begun

    def allows(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """Yield jobs while time is left for another one. The caller must start each job at once."""
        for job in jobs:
            if self.limit and self.seconds() + self.longest > self.limit:
                print(f"stopped after {self.limit:g} s; run the same command again to continue", flush=True)
                return
            self.at[id(job)] = self.seconds()
            yield job

    def ended(self, job: object) -> None:
        self.longest = max(self.longest, self.seconds() - self.at[id(job)])


def _take_place(numbers: "SimpleQueue[int]", processes: int, gpus: int) -> None:
    """Initialise a process of the pool: choose its GPU and its number of threads."""
    end_with_parent()
    number = numbers.get()
    if gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number % gpus]
    torch.set_num_threads(max(1, available_cores() // processes))

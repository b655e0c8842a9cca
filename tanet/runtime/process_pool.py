"""Run one function over many items in worker processes.

`map_in_order` is for items that cause no trouble. `map_files` is for files, of which some may make a worker
hang or crash. Each of its workers has its own pipe and processes one file at a time, so the parent always
knows which file a worker is processing. If a worker dies or exceeds the time limit, the parent replaces the
worker and reports the file as failed. Other files are not affected.
"""

import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import torch

from tanet.errors import UserError

T = TypeVar("T")
Item = TypeVar("Item")
# Do not fork the workers, because a fork would copy the parent while the parent's threads are working.
SPAWN = get_context("spawn")


@dataclass(frozen=True)
class FailedFile:
    """The reason why a file has no result."""

    kind: Literal["hanging", "crashed"]
    cause: str


def map_files(
    work: Callable[[Path], T], paths: Sequence[Path], *, workers: int, limit: float
) -> Generator[tuple[Path, T | FailedFile], None, None]:
    """Yield each file and its result as soon as the result is ready, in no fixed order.

    Closing the generator ends the worker processes.

    Args:
        work: function to call with each file. The function must be defined at the top level of a module, so
            that a worker can import it. It should return expected errors as values instead of raising them,
            and must not return None.
        paths: the files.
        workers: number of worker processes.
        limit: seconds allowed per file. The start of a worker does not count.

    Raises:
        UserError: `workers` or `limit` is not positive, or a worker died before it received a file.
    """
    if workers < 1 or not limit > 0:
        raise UserError(f"workers and limit must be positive, not {workers} and {limit:g}")
    waiting = deque(paths)
    crew = [_Worker(work, limit) for _ in range(min(workers, len(waiting)))]
    try:
        while crew:
            wait([worker.pipe for worker in crew], timeout=_until(min(worker.deadline for worker in crew)))
            for worker in tuple(crew):
                path, result = worker.path, worker.result()
                if result is None:
                    continue
                if isinstance(result, FailedFile) or not waiting:
                    worker.stop()
                    crew.remove(worker)
                    if waiting:
                        crew.append(_Worker(work, limit))
                else:
                    worker.start(waiting.popleft())
                if path is not None:
                    yield path, result
    finally:
        for worker in crew:
            worker.stop()


def end_with_parent() -> None:
    """End this process as soon as its parent ends, for whatever reason.

    Use this function as `initializer` of a `ProcessPoolExecutor`. Without it, the executor's processes wait
    for jobs forever if the parent is killed.
    """
    if parent := parent_process():

        def wait_for_end() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=wait_for_end, daemon=True).start()


def map_in_order(
    work: Callable[[Item], T], items: Iterable[Item], *, workers: int, chunk: int = 1
) -> Generator[T, None, None]:
    """Yield work(item) for each item, in order. Worker processes compute the results.

    Signals reach only the calling process: after Ctrl-C or SIGTERM, the workers finish their chunks and end.
    Use `map_files` instead if an item can make a worker hang or crash.

    Args:
        work: function to call with each item. It must be defined at the top level of a module.
        items: arguments of `work`.
        workers: number of worker processes.
        chunk: number of items that a worker receives at once.
    """
    with ProcessPoolExecutor(workers, SPAWN, end_with_parent) as pool:
        # `map` starts the workers, which inherit the blocked signals.
        with _blocked(signal.SIGINT, signal.SIGTERM):
            results = pool.map(work, items, chunksize=chunk)
        yield from results


@contextmanager
def _blocked(*numbers: int) -> Iterator[None]:
    """Block signals in the calling thread, and for good in the processes that it starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker(Generic[T]):
    """A worker process, the parent's end of its pipe, and the file that it is processing."""

    def __init__(self, work: Callable[[Path], T], limit: float) -> None:
        self.path: Path | None = None
        self.limit, self.deadline = limit, math.inf
        self.pipe, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=_serve, args=(work, theirs), daemon=True)
        # Ctrl-C sends SIGINT to the parent and the workers, but only the parent should handle the signal.
        # SIGTERM stays: when the parent exits, multiprocessing ends daemon processes with it.
        try:
            with _blocked(signal.SIGINT):
                self.process.start()
        finally:
            theirs.close()

    def start(self, path: Path) -> None:
        self.path, self.deadline = path, time.monotonic() + self.limit
        # Sending fails if the worker has just died. The next call of `result` then reports the dead worker.
        with suppress(OSError):
            self.pipe.send(path)

    def result(self) -> Any:
        """Return the worker's message, or a `FailedFile` if the worker died or took too long.

        Return None while the worker is still busy.
        """
        if self.pipe.poll():
            try:
                return self.pipe.recv()
            except (EOFError, OSError):
                self.process.join()
                if self.path is None:
                    raise UserError(
                        f"a process that reads videos could not start ({_end(self.process.exitcode)}), "
                        "perhaps because memory is short: try fewer --workers"
                    ) from None
                return FailedFile("crashed", f"the process that read it died ({_end(self.process.exitcode)})")
        if time.monotonic() > self.deadline:
            return FailedFile("hanging", f"not done within {self.limit:g} s")
        return None

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(work: Callable[[Path], Any], pipe: Connection) -> None:
    """Process the files that arrive on a pipe, until the pipe is closed. Each worker runs this function."""
    torch.set_num_threads(1)
    pipe.send("ready")
    while True:
        try:
            path = pipe.recv()
        except EOFError:
            return
        try:
            result = work(path)
        except Exception as error:  # report the error as this file's result, and continue with the next file
            result = FailedFile("crashed", f"{type(error).__name__}: {error}")
        if result is None:
            result = FailedFile("crashed", "the function for a file returned None")  # the parent would wait
        pipe.send(result)


def _until(deadline: float) -> float | None:
    return None if math.isinf(deadline) else max(0.0, deadline - time.monotonic())


def _end(status: int | None) -> str:
    return signal.Signals(-status).name if status and status < 0 else f"exit status {status}"

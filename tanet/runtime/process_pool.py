"""One function over many files, in processes: a file that hangs or kills its process costs that file alone.

Each process has a pipe of its own and one file at a time, so it is always known which file a process was at.
One that dies, or is not done within the limit, is named with its file and replaced.
"""

import math
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import torch

from tanet.errors import UserError

T = TypeVar("T")
SPAWN = get_context("spawn")  # a fork would inherit the parent's threads in the middle of what they do


@dataclass(frozen=True)
class FailedFile:
    """A file without a result, and why."""

    kind: Literal["hanging", "crashed"]
    cause: str


def map_files(
    work: Callable[[Path], T], paths: Sequence[Path], *, workers: int, limit: float
) -> Generator[tuple[Path, T | FailedFile], None, None]:
    """The result for each file, as they come: in no settled order. To close it ends the processes.

    Args:
        work: a function of a module's top level, so that another process finds it; errors that it expects of
            a file it returns as values.
        paths: what to call it with.
        workers: processes at a time.
        limit: seconds for one file; the start of a process does not count.

    Raises:
        UserError: a process died before it had a file.
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


class _Worker(Generic[T]):
    """A process, the parent's end of its pipe, and the file that it is at."""

    def __init__(self, work: Callable[[Path], T], limit: float) -> None:
        self.path: Path | None = None
        self.limit, self.deadline = limit, math.inf
        self.pipe, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=_serve, args=(work, theirs), daemon=True)
        # Ctrl-C reaches every process of a terminal; the mask, which is inherited, leaves it to the parent.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()

    def start(self, path: Path) -> None:
        self.path, self.deadline = path, time.monotonic() + self.limit
        with suppress(OSError):  # it died just now, which `result` will see
            self.pipe.send(path)

    def result(self) -> Any:
        """Return what came through the pipe, or a FailedFile; None while there is nothing yet."""
        if self.pipe.poll():
            try:
                return self.pipe.recv()
            except (EOFError, OSError):
                self.process.join()
                if self.path is None:
                    raise UserError(
                        f"a process that reads videos could not start ({_end(self.process.exitcode)}): "
                        "too little memory, perhaps; try fewer --workers"
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
    """What a process does until its pipe is closed."""
    torch.set_num_threads(1)
    pipe.send("ready")
    while True:
        try:
            path = pipe.recv()
        except EOFError:
            return
        try:
            result = work(path)
        except Exception as error:  # the file is named with it, and the next one has its turn
            result = FailedFile("crashed", f"{type(error).__name__}: {error}")
        pipe.send(result)


def _until(deadline: float) -> float | None:
    return None if math.isinf(deadline) else max(0.0, deadline - time.monotonic())


def _end(status: int | None) -> str:
    return signal.Signals(-status).name if status and status < 0 else f"exit status {status}"

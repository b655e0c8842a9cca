"""Teams of processes that take turns. A team has one process per GPU, as under torchrun.

Each process builds its worker, and then waits for commands. So a team is idle while the steps of another team
are timed.
"""

import os
import socket
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import torch

from tanet.runtime.distributed import ProcessGroup, join_process_group

READY = 400.0  # seconds within which a process must start and build its worker
ANSWER = 120.0  # seconds within which a process must answer a command


class Worker(Protocol):
    """The callable that does the work of a process: it takes a command (one word) and returns the answer."""

    def __call__(self, word: str) -> Any: ...


Make = Callable[[ProcessGroup, torch.device], Worker]


class Team:
    """A team of processes. An error in one process ends the whole team, but no other team.

    Args:
        name: name of the team in messages.
        gpus: number of processes.
        make: function that builds the worker of a process. It is pickled, so it must be a function of a
            module, or a `partial` of such a function.
        device: type of the device, "cuda" or "cpu".
    """

    def __init__(self, name: str, *, gpus: int, make: Make, device: str) -> None:
        self.name, self.error = name, ""
        self.pipes: list[Connection] = []
        self.processes: list[BaseProcess] = []
        context, port = get_context("spawn"), _free_port()
        for rank in range(gpus):
            here, there = context.Pipe()
            process = context.Process(target=_work, args=(there, rank, gpus, port, make, device))
            process.start()
            # Close our copy of the process's end, so that `here.recv` raises EOFError when the process ends.
            there.close()
            self.pipes.append(here)
            self.processes.append(process)

    def wait(self) -> None:
        """Wait until all processes have built their workers."""
        self._hear(READY)

    def ask(self, word: str) -> list[Any]:
        """Send a command to all processes, and return their answers; return [] if the team has failed."""
        for pipe in [] if self.error else self.pipes:
            try:
                pipe.send(word)
            except OSError:
                self.fail("a process has ended")
        return self._hear(ANSWER)

    def fail(self, error: str) -> None:
        """Store the first line of the error in `self.error`, and kill all processes of the team."""
        self.error = (error.splitlines() or [error])[0]
        for process in self.processes:
            process.kill()

    def end(self) -> None:
        for pipe in self.pipes:
            pipe.close()  # each process ends when its pipe is closed
        for process in self.processes:
            process.join(5)
            process.kill()
            process.join()

    def _hear(self, seconds: float) -> list[Any]:
        answers: list[Any] = []
        for pipe in [] if self.error else self.pipes:
            try:
                answer = (
                    pipe.recv() if pipe.poll(seconds) else RuntimeError(f"no answer within {seconds:g} s")
                )
            except EOFError:
                answer = RuntimeError("a process has ended")
            if isinstance(answer, Exception):
                self.fail(str(answer))
                return []
            answers.append(answer)
        return answers


def _work(pipe: Connection, rank: int, world_size: int, port: int, make: Make, device: str) -> None:
    """Build the worker of this process. Answer commands with it until the pipe is closed."""
    if world_size > 1:
        names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT")
        os.environ.update(zip(names, map(str, (rank, rank, world_size, port)), strict=True))
        os.environ["MASTER_ADDR"] = "127.0.0.1"
    try:
        with join_process_group(device, timeout=READY) as (group, own):
            worker = make(group, own)
            pipe.send("ready")
            while True:
                pipe.send(worker(pipe.recv()))
    except (EOFError, BrokenPipeError):
        os._exit(0)  # without the usual clean-up, which would wait for ranks that may have ended
    except Exception as error:
        pipe.send(RuntimeError(f"process {rank}: {type(error).__name__}: {error}"))
        os._exit(1)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]

"""Processes that work together, one a GPU, as torchrun starts them; several such teams take turns.

A process builds what it works with and then waits to be told, so that nothing of one team runs while the
steps of another are timed.
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

READY = 400.0  # seconds for starting and compiling
ANSWER = 120.0  # seconds for everything else


class Worker(Protocol):
    """What a process does when it is told a word; its answer goes through a pipe."""

    def __call__(self, word: str) -> Any: ...


Make = Callable[[ProcessGroup, torch.device], Worker]


class Team:
    """The processes; what fails in one ends the team, and no other.

    Args:
        name: for the line that tells of it.
        gpus: how many processes.
        make: what each builds; it travels, so it is a function of a module or a `partial` of one.
        device: its kind, "cuda" or "cpu".
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
            there.close()  # so that the end of the process is seen here
            self.pipes.append(here)
            self.processes.append(process)

    def wait(self) -> None:
        """Until all have built what they work with."""
        self._hear(READY)

    def ask(self, word: str) -> list[Any]:
        """Tell all, and give everybody's answer; nothing if the team has failed."""
        for pipe in [] if self.error else self.pipes:
            try:
                pipe.send(word)
            except OSError:
                self.fail("a process has ended")
        return self._hear(ANSWER)

    def fail(self, error: str) -> None:
        """End the team."""
        self.error = (error.splitlines() or [error])[0]
        for process in self.processes:
            process.kill()

    def end(self) -> None:
        for pipe in self.pipes:
            pipe.close()  # on which each process ends
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
    """A process: it does what it is told until the pipe is closed."""
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
        os._exit(0)  # the others of the team may have gone: nothing is to be settled with them
    except Exception as error:
        pipe.send(RuntimeError(f"process {rank}: {type(error).__name__}: {error}"))
        os._exit(1)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]

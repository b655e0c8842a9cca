"""Start trainings in separate processes, as one or several ranks, so that tests can kill them."""

import json
import os
import socket
import sys
from multiprocessing import set_start_method
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tanet import train
from tanet.cli import main
from tanet.errors import UserError
from tanet.models.factory import build
from tanet.recipes.recipe import Recipe
from tanet.runtime.interrupt import Interrupted
from tests.support.fork_server import CONTEXT


def start(
    recipe: Recipe,
    out: Path,
    *,
    world_size: int = 1,
    norm: bool = True,
    device: str = "cpu",
    compile: bool = False,
    rank_without_network: int | None = None,
) -> list[Any]:
    """Start or resume a training that saves its state after each step. Return its running processes.

    Each process leads its own process group, like one that torchrun or SLURM starts. A process that is asked
    to stop exits with 130. After each step it appends epoch, step, rank and videos to
    out/../steps-RANK.jsonl.

    Args:
        norm: if false, the BatchNorms stay in evaluation mode, so that samples do not influence each other.
        rank_without_network: building the network fails on this rank.
    """
    port = _free_port()
    ranks = [
        CONTEXT.Process(
            target=_train,
            args=(recipe, out, device, compile, rank, world_size, port, norm, rank == rank_without_network),
        )
        for rank in range(world_size)
    ]
    for process in ranks:
        process.start()
    return ranks


def run_command(words: list[str], folder: Path, *, world_size: int = 2) -> list[tuple[int, str, str]]:
    """Run a command of tanet on several ranks. Return the exit status, output and errors of each rank."""
    port = _free_port()
    ranks = [
        CONTEXT.Process(target=_run_command, args=(words, folder, rank, world_size, port))
        for rank in range(world_size)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    return [
        (process.exitcode, *((folder / f"{stream}-{rank}.txt").read_text() for stream in ("out", "err")))
        for rank, process in enumerate(ranks)
    ]


def read_steps(out: Path) -> dict[tuple[int, int, int], list[str]]:
    """Read the videos of each (epoch, step, rank). If a step ran twice, its second run counts."""
    found = {}
    for path in sorted(out.parent.glob("steps-*.jsonl")):
        for line in path.read_text().splitlines():
            epoch, step, rank, videos = json.loads(line)
            found[epoch, step, rank] = videos
    return found


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _set_rank(rank: int, world_size: int, port: int) -> None:
    """Set the environment variables that torchrun sets."""
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world_size),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )


def _run_command(words: list[str], folder: Path, rank: int, world_size: int, port: int) -> None:
    _set_rank(rank, world_size, port)
    with (folder / f"out-{rank}.txt").open("w") as out, (folder / f"err-{rank}.txt").open("w") as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        sys.modules["tanet.runtime.distributed"].SECONDS_TO_PRINT = 0  # nothing ends this rank early
        sys.exit(main(words))


def _train(
    recipe: Recipe,
    out: Path,
    device: str,
    compile: bool,
    rank: int,
    world_size: int,
    port: int,
    norm: bool,
    no_network: bool,
) -> None:
    os.setpgid(0, 0)
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False  # compute in full float32
    set_start_method("fork", force=True)  # workers of a forkserver would outlive a killed training
    if world_size > 1:
        _set_rank(rank, world_size, port)
    add = sys.modules["tanet.training.nonfinite"].NonFiniteMonitor.add

    def add_and_log(self: Any, epoch: int, step: int, videos: tuple[str, ...], made: Any) -> None:
        with out.with_name(f"steps-{rank}.jsonl").open("a") as file:
            file.write(json.dumps([epoch, step, rank, videos]) + "\n")
        add(self, epoch, step, videos, made)

    sys.modules["tanet.training.nonfinite"].NonFiniteMonitor.add = add_and_log
    if not norm:
        sys.modules["tanet.training.setup"].build = _build_without_norm
    if no_network:
        sys.modules["tanet.training.setup"].build = _fail_to_build
    try:
        train(recipe, out=out, device=device, resume=True, save_minutes=0, compile=compile)
    except Interrupted:
        os._exit(130)
    except UserError as error:
        out.with_name(f"error-{rank}.txt").write_text(str(error))
        os._exit(2)  # exit like the command: no traceback


def _fail_to_build(*_: Any, **__: Any) -> nn.Module:
    raise UserError("no network here")


def _build_without_norm(*args: Any, **kwargs: Any) -> nn.Module:
    network = build(*args, **kwargs)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
            module.train = lambda mode=True, module=module: module
    return network

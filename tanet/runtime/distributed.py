"""Processes that train or test together: several started by torchrun, one per GPU, or a single one.

    torchrun --nproc-per-node 2 -m tanet train kinetics400 --data.root …

torchrun sets RANK, LOCAL_RANK and WORLD_SIZE for each process. Ranks exchange a few numbers on the CPU
(gloo). They exchange gradients (training/gradient_sync.py), and the initial weights and buffers, on the
device of these tensors; between GPUs this uses NCCL.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from tanet.errors import UserError
from tanet.runtime.device import parse_device, pick_device

SECONDS_TO_PRINT = 10  # the other ranks wait before they exit, so that rank 0 prints the error first


class RankError(UserError):
    """An error that all ranks raise; rank 0 prints it."""


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that work together; a rank is one of them."""

    rank: int
    """Number of this process, from 0."""
    world_size: int
    """Number of processes."""

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes and reports."""
        return self.rank == 0

    def all_reduce_max(self, *values: int) -> list[int]:
        """Return the maximum of each value over all ranks."""
        if self.world_size == 1:
            return list(values)
        values_ = torch.tensor(values, dtype=torch.int64)
        dist.all_reduce(values_, dist.ReduceOp.MAX)
        return values_.tolist()

    def all_gather_objects(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in order of rank: plain values, or small tensors on the CPU."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def broadcast_tensors_(self, tensors: list[torch.Tensor]) -> None:
        """Copy the tensors of rank 0 to all ranks, in place."""
        if self.world_size > 1:
            for tensor in tensors:
                whole = tensor.contiguous()  # copies a channels-last tensor, which cannot be sent as it is
                dist.broadcast(whole, 0)
                tensor.copy_(whole)

    def all_reduce_mean_async(self, tensor: torch.Tensor) -> Callable[[], object]:
        """Start averaging a tensor over the ranks, in place; return a function that waits for the average.

        All ranks must start their averages in the same order. On a GPU, only the current stream waits, and
        the host continues.
        """
        work = dist.all_reduce(tensor.div_(self.world_size), async_op=True) if self.world_size > 1 else None
        return work.wait if work else lambda: None

    def broadcast_object(self, value: Any) -> Any:
        """Return the value of rank 0."""
        if self.world_size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, 0)
        return values[0]

    def raise_on_all_ranks(self, error: UserError | OSError | None) -> None:
        """Raise an error on all ranks if it occurred on any. All ranks must call this.

        Raises:
            UserError, OSError: the error itself, in a single process.
            RankError: the rank and the message of the error, if there are several processes.
        """
        if self.world_size == 1 and error:
            raise error
        for rank, text in enumerate(self.all_gather_objects(None if error is None else str(error))):
            if text is not None:
                raise RankError(f"process {rank} of {self.world_size}: {text}") from error

    @contextmanager
    def errors_on_all_ranks(self) -> Iterator[None]:
        """Raise an error in this block on all ranks if it occurs on any; see `raise_on_all_ranks`."""
        failed: UserError | OSError | None = None
        try:
            yield
        except RankError:
            raise
        except (UserError, OSError) as error:
            failed = error
        self.raise_on_all_ranks(failed)


SINGLE_PROCESS = ProcessGroup(0, 1)


def is_main_process() -> bool:
    """Tell whether this is rank 0. This also works outside `join_process_group`."""
    return os.environ.get("RANK", "0") == "0" or not is_distributed()


def exit_unless_main() -> None:
    """Exit unless this is rank 0. All ranks fail with the same error, and rank 0 prints it.

    torchrun ends all processes as soon as one has failed, so the other ranks first wait for rank 0 to print.
    """
    if not is_main_process():
        time.sleep(SECONDS_TO_PRINT)
        sys.exit(2)


def is_distributed() -> bool:
    """Tell whether torchrun or a similar launcher started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def join_process_group(
    device: str | torch.device | None, *, timeout: float
) -> Iterator[tuple[ProcessGroup, torch.device]]:
    """Join the processes that were started together; yield their group and the device of this process.

    Args:
        device: the kind of device; with GPUs, each process of a machine uses a different one.
        timeout: seconds that a process waits for the others before it fails.

    Raises:
        UserError: this machine has more processes than GPUs, the device cannot be used, or another process
            has ended or does not answer.
    """
    if not is_distributed():
        yield SINGLE_PROCESS, pick_device(device)
        return
    target = _own_device(device)
    backend = "cpu:gloo,cuda:nccl" if target.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
        yield ProcessGroup(dist.get_rank(), dist.get_world_size()), target
    except RuntimeError as error:
        if line := _describe_lost_rank(error, timeout):
            raise UserError(line) from error
        raise
    # Skip this after an error: other ranks may then wait for data that never comes, until torchrun ends them.
    dist.destroy_process_group()


def _own_device(device: str | torch.device | None) -> torch.device:
    """Return the device of this process. Do not touch other GPUs: this would allocate memory on them."""
    target, count = parse_device(device), torch.cuda.device_count()
    if target.type != "cuda" or not count:
        return pick_device(device)
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if local >= count:
        raise UserError(
            f"this machine has {count} GPUs, too few for its processes: lower torchrun's --nproc-per-node"
        )
    torch.cuda.set_device(local)
    return pick_device(torch.device("cuda", local))


def _describe_lost_rank(error: RuntimeError, timeout: float) -> str:
    """Describe the error in one line if another process caused it; otherwise return ""."""
    text = str(error)
    signs = ("Connection", "Broken pipe", "imed out", "NCCL")
    if isinstance(error, torch.OutOfMemoryError) or not any(sign in text for sign in signs):
        return ""
    rank, world_size = os.environ.get("RANK", "?"), os.environ.get("WORLD_SIZE", "?")
    return (
        f"process {rank} of {world_size}: another process ended, or did not answer within {timeout:g} s "
        f"({text.splitlines()[0]:.120})"
    )

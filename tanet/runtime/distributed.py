"""Processes that train or test together. torchrun starts several processes, one per GPU.

    torchrun --nproc-per-node 2 -m tanet train kinetics400 --data.root …

Without torchrun, there is a single process. torchrun sets RANK, LOCAL_RANK and WORLD_SIZE for each process.

The ranks exchange small values on the CPU, with gloo. The ranks exchange gradients
(training/gradient_sync.py), initial weights and buffers on the device of these tensors, with NCCL on GPUs.
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

SECONDS_TO_PRINT = 10  # seconds that other ranks wait before they exit, so that rank 0 prints its error first


class RankError(UserError):
    """Error that all ranks raise together. Only rank 0 prints the message."""


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that work together. Each of these processes is called a rank."""

    rank: int
    """Number of this process, from 0."""
    world_size: int
    """Number of processes."""

    @property
    def is_main(self) -> bool:
        """Whether this process is rank 0, which writes files and reports progress."""
        return self.rank == 0

    def all_reduce_max(self, *values: int) -> list[int]:
        """Return the maximum of each value over all ranks."""
        if self.world_size == 1:
            return list(values)
        values_ = torch.tensor(values, dtype=torch.int64)
        dist.all_reduce(values_, dist.ReduceOp.MAX)
        return values_.tolist()

    def all_gather_objects(self, value: Any) -> list[Any]:
        """Return a list of the values of all ranks, in order of rank.

        Args:
            value: the value of this rank, which must be a plain object or a small CPU tensor.
        """
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def broadcast_tensors_(self, tensors: list[torch.Tensor]) -> None:
        """Copy the tensors of rank 0 to all ranks, in place."""
        if self.world_size > 1:
            for tensor in tensors:
                whole = tensor.contiguous()  # copy a channels-last tensor, because broadcast cannot send it
                dist.broadcast(whole, 0)
                tensor.copy_(whole)

    def all_reduce_mean_async(self, tensor: torch.Tensor) -> Callable[[], object]:
        """Start averaging a tensor over the ranks, in place. Return a function that waits for the average.

        All ranks must start their averages in the same order. On a GPU, the returned function makes only the
        current stream wait, and the host continues.
        """
        work = dist.all_reduce(tensor.div_(self.world_size), async_op=True) if self.world_size > 1 else None
        return work.wait if work else lambda: None

    def broadcast_object(self, value: Any) -> Any:
        """Send the value of rank 0 to all ranks, and return this value."""
        if self.world_size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, 0)
        return values[0]

    def raise_on_all_ranks(self, error: UserError | OSError | None) -> None:
        """Raise an error on all ranks if one rank has an error. All ranks must call this together.

        Args:
            error: the error of this rank; None if this rank has no error.

        Raises:
            UserError, OSError: in a single process, `error` itself.
            RankError: with several processes, an error that names the failed rank and repeats its message.
        """
        if self.world_size == 1 and error:
            raise error
        for rank, text in enumerate(self.all_gather_objects(None if error is None else str(error))):
            if text is not None:
                raise RankError(f"process {rank} of {self.world_size}: {text}") from error

    @contextmanager
    def errors_on_all_ranks(self) -> Iterator[None]:
        """Run a `with` block. If it fails on one rank, raise an error on all ranks (`raise_on_all_ranks`)."""
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
    """Tell whether this process is rank 0. This function also works outside `join_process_group`."""
    return os.environ.get("RANK", "0") == "0" or not is_distributed()


def exit_unless_main() -> None:
    """Exit unless this process is rank 0. If all ranks call this on an error, only rank 0 prints the error.

    torchrun ends all processes as soon as one process has failed. The other ranks therefore wait before they
    exit, so that rank 0 can print the error.
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
    """Join the processes that were started together. Yield their group and the device of this process.

    Args:
        device: device to use. If torchrun started several processes, each process on a machine uses a
            different GPU, and a GPU number in `device` is ignored.
        timeout: seconds that a process waits for the other processes before it fails.

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
    # After an error, do not destroy the group, because other ranks may wait in it until torchrun ends them.
    dist.destroy_process_group()


def _own_device(device: str | torch.device | None) -> torch.device:
    """Return the device of this process. Do not use other GPUs: any use of a GPU allocates memory on it."""
    target, count = parse_device(device), torch.cuda.device_count()
    if target.type != "cuda" or not count:
        return pick_device(device)
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if local >= count:
        raise UserError(
            f"this machine has more processes than its {count} GPUs: lower torchrun's --nproc-per-node"
        )
    torch.cuda.set_device(local)
    return pick_device(torch.device("cuda", local))


def _describe_lost_rank(error: RuntimeError, timeout: float) -> str:
    """Return one line that describes the error if another process caused the error. Otherwise, return ""."""
    text = str(error)
    signs = ("Connection", "Broken pipe", "imed out", "NCCL")
    if isinstance(error, torch.OutOfMemoryError) or not any(sign in text for sign in signs):
        return ""
    rank, world_size = os.environ.get("RANK", "?"), os.environ.get("WORLD_SIZE", "?")
    return (
        f"process {rank} of {world_size}: another process ended, or did not answer within {timeout:g} s "
        f"({text.splitlines()[0]:.120})"
    )

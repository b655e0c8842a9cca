"""The device to compute on, and its precision."""

import ctypes
import os
from typing import Literal

import torch

from tanet.errors import UserError


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """Return the named device and check that it works. Without a name: a GPU if there is one, else the CPU.

    Raises:
        UserError: the device does not exist or cannot be used.
    """
    device = parse_device(name)
    if name is None or name == "auto":
        return device
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise _unusable(name, error) from error
    return device


def parse_device(name: str | torch.device | None) -> torch.device:
    """Return the named device as `pick_device` does, without checking it.

    The check would allocate memory on the named GPU, or on the first GPU if the name has no number.

    Raises:
        UserError: the name is not the name of a device.
    """
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise _unusable(name, error) from error


def available_cores() -> int:
    """Return the number of CPU cores that this process may use, possibly fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _unusable(name: str | torch.device, error: Exception) -> UserError:
    return UserError(f"device '{name}' cannot be used: {str(error).splitlines()[0]}")


def tune_cpu() -> None:
    """Set options of the whole process that make a CPU compute and read faster, with unchanged results.

    Channels with a tiny variance produce denormal numbers, on which a CPU is a hundred times slower.
    So denormals are flushed to zero. Also, glibc returns large memory blocks to the system when they are
    freed, so allocating them again causes a page fault for each page. The page faults cost a quarter of a
    training step, and one or two milliseconds per video that is read. So glibc is told to keep the memory;
    without glibc, memory allocation stays as it is.
    """
    torch.set_flush_denormal(True)
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return
    at_once, mapped = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX
    mallopt(at_once, 2**31 - 1)
    mallopt(mapped, 0)


def autocast(device: torch.device, precision: Literal["float32", "bfloat16"]) -> torch.autocast:
    """Return the autocast context: mixed precision on a GPU if asked for, always float32 on a CPU."""
    enabled = device.type == "cuda" and precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)

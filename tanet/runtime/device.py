"""Where to compute, and in what precision."""

import ctypes
import os
from typing import Literal

import torch

from tanet.errors import UserError


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """The named device; without a name a GPU if there is one, else the CPU.

    Raises:
        UserError: that device is not there.
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
    """As `pick_device`, but the device is not tried: on a GPU that would take memory, of the first one.

    Raises:
        UserError: that is no device's name.
    """
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise _unusable(name, error) from error


def available_cores() -> int:
    """CPU cores that this process may run on, which may be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _unusable(name: str | torch.device, error: Exception) -> UserError:
    return UserError(f"device '{name}' can not be used: {str(error).splitlines()[0]}")


def tune_cpu() -> None:
    """Settings of a whole process with which a CPU computes and reads faster; results stay what they are.

    Channels with a tiny variance make denormal numbers, on which a CPU is a hundred times slower. And glibc
    returns large blocks of memory when they are freed: they come back as empty pages, a fault for each, which
    is a quarter of a training step and a millisecond or two of reading a video. Elsewhere than on glibc that
    is left as it is.
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
    """Mixed precision on a GPU; a CPU computes in float32."""
    enabled = device.type == "cuda" and precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)

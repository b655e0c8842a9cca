"""The device to compute on, and its precision."""

import ctypes
import os
from contextlib import suppress
from functools import cache
from typing import Literal

import torch

from tanet.errors import UserError


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """Return the device with this name, and check that the device works.

    If the name is None or "auto", return a GPU if there is one, else the CPU.

    Raises:
        UserError: the device does not exist or cannot be used.
    """
    device = parse_device(name)
    if name is None or name == "auto":
        return device
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        known = str(device) in usable_devices()
        raise _unusable(name, str(error).splitlines()[0] if known else "") from error
    if device.type not in usable_devices():
        raise _unusable(name)
    return device


def parse_device(name: str | torch.device | None) -> torch.device:
    """Return the device with this name, like `pick_device`, but do not check that the device works.

    The check would allocate memory on the named GPU, or on the first GPU if the name has no number.

    Raises:
        UserError: the name is not a valid device name.
    """
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise _unusable(name) from error


def usable_devices() -> tuple[str, ...]:
    """Return the names of all devices of this machine, such as cpu, cuda and cuda:0."""
    names = ["cpu"]
    if torch.cuda.is_available():
        names += ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        names.append("mps")
    if torch.xpu.is_available():
        names += ["xpu", *(f"xpu:{number}" for number in range(torch.xpu.device_count()))]
    return tuple(names)


def available_cores() -> int:
    """Return the number of CPU cores that this process may use. The machine may have more cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _unusable(name: str | torch.device, cause: str = "") -> UserError:
    """Return an error that gives the cause or, without a cause, lists the devices of this machine."""
    choices = f"choose from auto, {', '.join(usable_devices())}"
    return UserError(f"device '{name}' cannot be used: {cause or f'{choices} on this machine'}")


def tune_cpu() -> None:
    """Set process-wide options that make a CPU compute and read videos faster. The results do not change.

    The first option flushes denormal numbers to zero, because a CPU computes with denormal numbers a hundred
    times more slowly. Channels with a tiny variance produce denormal numbers. For the others, see
    `keep_freed_memory`.
    """
    torch.set_flush_denormal(True)
    keep_freed_memory()


@cache
def keep_freed_memory() -> None:
    """Make glibc keep freed memory, in this process. Building a network calls this function.

    By default, glibc returns large blocks to the operating system, and a new allocation then causes a page
    fault for each page. These page faults cost nearly half of the time of a clip, a quarter of a training
    step, and one or two milliseconds per video that is read. Without glibc, allocation does not change.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return
    at_once, mapped = -1, -4  # numbers of the glibc options M_TRIM_THRESHOLD and M_MMAP_MAX
    mallopt(at_once, 2**31 - 1)
    mallopt(mapped, 0)


def return_freed_memory() -> None:
    """Return freed memory to the operating system once, in spite of `keep_freed_memory`. Only glibc can.

    What has been read of a long video before its first frame leaves megabytes that nothing later fits into.
    """
    with suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def autocast(device: torch.device, precision: Literal["float32", "bfloat16"]) -> torch.autocast:
    """Return an autocast context. It uses bfloat16 if `precision` is bfloat16 and the device is a GPU."""
    enabled = device.type == "cuda" and precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)

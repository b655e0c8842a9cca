"""Where to compute, and in what precision."""

from typing import Literal

import torch


def pick_device(name: str | torch.device | None = None) -> torch.device:
    """The named device; without a name a GPU if there is one, else the CPU.

    Raises:
        ValueError: that device is not there.
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
        ValueError: that is no device's name.
    """
    if name is None or name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise _unusable(name, error) from error


def _unusable(name: str | torch.device, error: Exception) -> ValueError:
    return ValueError(f"device '{name}' can not be used: {str(error).splitlines()[0]}")


def autocast(device: torch.device, precision: Literal["float32", "bfloat16"]) -> torch.autocast:
    """Mixed precision on a GPU; a CPU computes in float32."""
    enabled = device.type == "cuda" and precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)

"""What the commands share: flags from types, the device flag, one line for what went wrong."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from tanet.checkpoints import checkpoint as checkpoints
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.cli.console import err
from tanet.runtime.device import pick_device
from tanet.runtime.files import write_atomically

F = TypeVar("F")
Device = Annotated[str, tyro.conf.arg(metavar="{auto,cpu,cuda,cuda:1,…}")]


def parse(default: F, args: list[str], *, prog: str) -> F:
    """Flags from the fields of a dataclass, whose docstring is the command's help."""
    kind = type(default)
    # Sections are named by their own fields (--optim.lr); what a command adds has no prefix.
    return tyro.cli(kind, default=default, args=args, prog=prog, description=inspect.getdoc(kind))


def load(path: Path, device: str) -> Checkpoint:
    """A checkpoint on the device of the flag."""
    return checkpoints.load(path, device=pick_device(device))


def fail(message: str, *, status: int = 2) -> int:
    """Say on one line of standard error what went wrong; the exit status."""
    err.print(f"tanet: {message}", markup=False)
    return status


def _write(path: Path, text: str) -> None:
    write_atomically(path, text.encode())


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    _write(path, "".join(f"{line}\n" for line in lines))

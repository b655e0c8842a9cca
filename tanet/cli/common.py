"""What the commands share: flags from dataclasses, old flag names, one line for what went wrong."""

import inspect
import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from tanet.checkpoints import checkpoint as checkpoints
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.cli.console import err, warn
from tanet.errors import UserError
from tanet.recipes.renamed import RENAMED, new_field_name
from tanet.runtime.device import pick_device
from tanet.runtime.files import write_atomically

F = TypeVar("F")
Device = Annotated[str, tyro.conf.arg(metavar="{auto,cpu,cuda,cuda:1,…}")]


def parse(default: F, args: list[str], *, prog: str, usage: str = "") -> F:
    """Fill the fields of a dataclass from flags; its docstring is the command's help.

    Args:
        default: the dataclass with its defaults. Flags of a section bear its name (--optim.lr).
        args: the arguments.
        prog: how the command is called.
        usage: the command with its positional arguments: shown in one line if one is missing.

    Raises:
        UserError: a positional argument is missing, or a section refuses a value.
        SystemExit: --help was asked for, or tyro has explained what is wrong.
    """
    try:
        return _silent_cli(default, args)
    except SystemExit as stop:
        if error := _user_error(stop):
            raise error from None
        if usage and stop.code and _lacks_positionals(default, args):
            raise UserError(f"usage: {usage} (`{prog} --help` tells more)") from None
    kind = type(default)  # once more, to show help or what is wrong
    return tyro.cli(kind, default=default, args=args, prog=prog, description=inspect.getdoc(kind))


def _silent_cli(default: F, args: list[str]) -> F:
    """Parse, with nothing shown."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return tyro.cli(type(default), default=default, args=args)


def _user_error(stop: BaseException) -> UserError | None:
    """Find the error of a section that tyro would show in a frame."""
    error = stop.__context__
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error


def _lacks_positionals(default: object, args: list[str], most: int = 2) -> bool:
    """Tell whether arguments fail to parse only because positional ones are missing."""
    for missing in range(1, most + 1):
        try:
            _silent_cli(default, [*args, *["x"] * missing])
        except SystemExit:
            continue
        return True
    return False


def with_new_flags(args: Sequence[str]) -> list[str]:
    """Replace old names of flags by the new ones, and tell them."""
    new = []
    for arg in args:
        flag, equals, value = arg.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if flag.startswith("--") and name in RENAMED:
            flag = f"--{new_field_name(name)}".replace("_", "-")
            warn(f"{arg.partition('=')[0]} is called {flag} now")
        new.append(f"{flag}{equals}{value}")
    return new


def load_checkpoint(path: Path, device: str) -> Checkpoint:
    """Load a checkpoint onto the device that a flag names."""
    return checkpoints.load(path, device=pick_device(device))


def fail(message: str, *, status: int = 2) -> int:
    """Print what went wrong, one line on standard error, and return the exit status."""
    err.print(f"tanet: {message}", markup=False)
    return status


def write_text(path: Path, text: str) -> None:
    """Write a text file; it is whole or absent."""
    write_atomically(path, text.encode())


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write a text file, one item a line."""
    write_text(path, "".join(f"{line}\n" for line in lines))

"""Helpers of all commands: flags from dataclasses, old flag names, one-line errors, output files."""

import inspect
import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from textwrap import fill
from typing import Annotated, TypeVar

import tyro

from tanet.checkpoints import checkpoint as checkpoints
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.cli.console import err, say, warn
from tanet.errors import UserError
from tanet.recipes.renamed import RENAMED, new_field_name
from tanet.runtime.device import pick_device
from tanet.runtime.files import write_atomically

F = TypeVar("F")
Device = Annotated[str, tyro.conf.arg(metavar="{auto,cpu,cuda,cuda:1,…}")]
OptionalFile = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")]
Videos = Annotated[
    tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="VIDEO …", help_behavior_hint="")
]
CheckpointPath = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="CHECKPOINT")]
WIDTH = 80  # columns of the help


def parse(default: F, args: list[str], *, prog: str, usage: str = "") -> F:
    """Parse flags into a dataclass, whose docstring is the command's help.

    Args:
        default: instance that holds the defaults. Flags of a section start with its name (--optim.lr).
        args: command-line arguments.
        prog: name of the command in the help text.
        usage: command with its positional arguments, for the error message if one is missing.

    Raises:
        UserError: a positional argument is missing, or a section rejects a value.
        SystemExit: tyro has shown the help (--help), or explained a wrong flag.
    """
    try:
        return _silent_cli(default, args)
    except SystemExit as stop:
        if error := _user_error(stop):
            raise error from None
        if usage and stop.code and _lacks_positionals(default, args):
            raise UserError(f"usage: {usage} (see `{prog} --help`)") from None
    kind = type(default)  # the silent parse failed: parse again, so that tyro shows the help or the error
    if {"-h", "--help"} & set(args):
        say(_wrapped(inspect.getdoc(kind) or "") + "\n")  # tyro does not wrap descriptions
    return tyro.cli(kind, default=default, args=args, prog=prog, description="")


def _wrapped(text: str) -> str:
    """Wrap the paragraphs of a docstring to the width of the help; indented lines are examples and stay."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(part if part.startswith(" ") else fill(part, WIDTH) for part in paragraphs)


def _silent_cli(default: F, args: list[str]) -> F:
    """Parse without showing anything."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return tyro.cli(type(default), default=default, args=args)


def _user_error(stop: BaseException) -> UserError | None:
    """Find the UserError that a section raised; tyro would show it in a box of several lines."""
    error = stop.__context__
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error


def _lacks_positionals(default: object, args: list[str], most: int = 2) -> bool:
    """Return whether parsing fails only because positional arguments (at most `most`) are missing."""
    for missing in range(1, most + 1):
        try:
            _silent_cli(default, [*args, *["x"] * missing])
        except SystemExit:
            continue
        return True
    return False


def with_new_flags(args: Sequence[str]) -> list[str]:
    """Replace old names of flags by the new ones, with a note for each."""
    new = []
    for arg in args:
        flag, equals, value = arg.partition("=")
        name = flag.removeprefix("--").replace("-", "_")
        if flag.startswith("--") and name in RENAMED:
            flag = f"--{new_field_name(name)}".replace("_", "-")
            warn(f"{arg.partition('=')[0]} is now called {flag}")
        new.append(f"{flag}{equals}{value}")
    return new


def load_checkpoint(path: Path, device: str) -> Checkpoint:
    """Load a checkpoint onto the device given by --device."""
    return checkpoints.load(path, device=pick_device(device))


def fail(message: str, *, status: int = 2) -> int:
    """Print an error as one line on standard error, and return `status`."""
    err.print(f"tanet: {message}", markup=False)
    return status


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically: an interruption leaves no partial file."""
    write_atomically(path, text.encode())


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Write a text file atomically, one item per line."""
    write_text(path, "".join(f"{line}\n" for line in lines))

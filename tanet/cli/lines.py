"""Lines on the terminal. This module is light, so that `tanet --help` and errors do not wait for PyTorch.

Results go to standard output. Notes, errors and progress bars go to standard error, so that a pipe receives
only the results.
"""

import errno
import os

from rich.console import Console
from rich.markup import escape


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave a broken pipe to `main`; rich would exit with status 1."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


out = _Console(highlight=False, emoji=False)
err = _Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)


def say(line: str) -> None:
    """Print a line unchanged. Square brackets in the line are not markup for the library rich."""
    out.print(line, markup=False, soft_wrap=True)


def warn(line: str) -> None:
    """Print a note on standard error."""
    err.print(f"[yellow]note:[/] {escape(line)}")


def fail(message: str, *, status: int = 2) -> int:
    """Print an error as one line on standard error, and return `status`."""
    err.print(f"tanet: {message}", markup=False)
    return status

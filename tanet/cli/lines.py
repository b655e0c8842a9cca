"""Lines on the terminal. This module is light, so that `tanet --help` and errors do not wait for PyTorch.

Results go to standard output. Notes, errors and progress bars go to standard error, so that a pipe receives
only the results.
"""

from rich.console import Console
from rich.markup import escape


class _Results(Console):
    """Console for standard output."""

    def on_broken_pipe(self) -> None:
        """Leave a broken pipe to `main`; rich would exit with status 1."""
        raise BrokenPipeError


out = _Results(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)


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

"""Lines on the terminal. This module is light, so that `tanet --help` and errors do not wait for PyTorch.

Results go to standard output. Notes, errors and progress bars go to standard error, so that a pipe receives
only the results.
"""

from rich.console import Console
from rich.markup import escape

out = Console(highlight=False, emoji=False)
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

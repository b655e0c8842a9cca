"""Errors that are the user's to mend, and what their messages share."""

from collections.abc import Sequence


class UserError(ValueError):
    """An error that the user can mend; its message is one line that says what to do.

    The command prints that line alone. Any other exception is a fault of tanet's and keeps its traceback.
    """


def abbreviate(names: Sequence[str], most: int = 8) -> str:
    """Join the first few names, and count the rest: "a, b and 3 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more or "none"

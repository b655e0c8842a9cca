"""Base class of errors that the user can fix, and a helper for their messages."""

from collections.abc import Sequence


class UserError(ValueError):
    """An error that the user can fix; its message is one line that says what to do.

    The command prints only that line. Any other exception is a bug in tanet and keeps its traceback.
    """


def abbreviate(names: Sequence[str], most: int = 8) -> str:
    """Join the first `most` names, and count the rest: "a, b and 3 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more or "none"

"""Base class of errors that the user can fix, and helpers for their messages."""

import re
from collections.abc import Sequence


class UserError(ValueError):
    """An error that the user can fix. The message of the error is one line that says what to do.

    The command `tanet` prints only this line. Any other exception is a bug in tanet and keeps its traceback.
    """


def one_line(error: Exception) -> str:
    """Return the message of an error; for an OSError, "FILE: what is wrong"."""
    if isinstance(error, OSError) and error.strerror:
        return ": ".join(str(part) for part in (error.filename, error.strerror) if part)
    return str(error)


def abbreviate(names: Sequence[str], most: int = 8) -> str:
    """Join the first `most` names and count the others, for example "a, b and 3 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more or "none"


def with_article(noun: str) -> str:
    """Put "a" or "an" before a noun. Letters that are read one by one count, for example "an X3D"."""
    return f"{'an' if re.match('[AEIOaeio]|[FHLMNRSX](?![a-z])', noun) else 'a'} {noun}"

"""Events of long-running functions. Such a function reports its progress by calling `on_event` with an event.

Events are dataclasses. Those that only one module emits are defined there: `BadVideo` in data/loader.py,
`VideosDone` in evaluation/evaluate.py, `Progress` of a training and `EpochResult` in training/events.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Note:
    """A message that the user should see. A note is not an error, so the work continues."""

    text: str


@dataclass(frozen=True)
class Progress:
    """The progress of a download."""

    done: int
    """Bytes received."""
    total: int
    """Bytes of the whole file; 0 if the server does not say."""
    what: str
    """The file."""


OnEvent = Callable[[Any], None]


def ignore(_: object) -> None:
    """Ignore an event. This function is the default of `on_event`."""

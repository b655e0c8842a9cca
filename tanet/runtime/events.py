"""Events of long-running functions. Such a function reports its progress by calling `on_event` with an event.

Events are dataclasses, defined next to the code that emits them: `BadVideo` in data/loader.py, `VideosDone`
in evaluation/evaluate.py, `Progress` and `EpochResult` in training/events.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Note:
    """A message that the user should see. A note is not an error, so the work continues."""

    text: str


OnEvent = Callable[[Any], None]


def ignore(_: object) -> None:
    """Ignore an event. This function is the default of `on_event`."""

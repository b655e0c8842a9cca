"""Events of long-running functions: each such function reports its progress to one callback, `on_event`.

The events themselves are plain values, defined next to the code that emits them: `BadVideo` in
data/loader.py, `VideosDone` in evaluation/evaluate.py, `Progress` and `EpochResult` in training/events.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Note:
    """A message that the user should see; the work continues."""

    text: str


OnEvent = Callable[[Any], None]


def ignore(_: object) -> None:
    """Ignore an event; this is the default of `on_event`."""

"""What long work tells while it runs: every function that does some takes one callback, `on_event`.

The events themselves are plain values beside the code that emits them: `BadVideo` in data/loader.py,
`VideosDone` in evaluation/evaluate.py, `Progress` and `EpochResult` in training/events.py.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Note:
    """Something the user should know that stops nothing."""

    text: str


OnEvent = Callable[[Any], None]


def ignore(_: object) -> None:
    """Ignore an event: the default of `on_event`."""

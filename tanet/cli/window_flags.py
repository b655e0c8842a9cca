"""Flags and functions that the commands for long videos share: `tanet features` and `tanet timeline`."""

from typing import Annotated

import tyro

from tanet.inference.windows import Span

Length = Annotated[str | None, tyro.conf.arg(metavar="FRAMES|SECONDSs")]
SomeVideos = Annotated[
    tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="VIDEO …", help_behavior_hint="")
]


def span(text: str | None) -> Span | None:
    """Return the length that a flag gives, or None if it is not given."""
    return None if text is None else Span.parse(text)

"""Flags and functions that the commands for long videos share: `tanet features` and `tanet timeline`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from tanet.cli.common import fail
from tanet.data.video_patterns import expand_videos, is_list, list_lines
from tanet.errors import UserError
from tanet.inference.windows import Span

Length = Annotated[str | None, tyro.conf.arg(metavar="FRAMES|SECONDSs")]
SomeVideos = Annotated[
    tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="VIDEO …", help_behavior_hint="")
]


def span(text: str | None) -> Span | None:
    """Return the length that a flag gives, or None if it is not given."""
    return None if text is None else Span.parse(text)


def videos_of(words: Sequence[str]) -> tuple[list[Path], int]:
    """Return the videos that words name, and the number of words and lines that name none.

    A word is a video, a folder, a pattern, or a text file with one path a line. Errors are printed.
    """
    files: list[Path] = []
    failures = 0
    for word in words:
        try:
            lines = list_lines(Path(word).read_bytes(), name=word) if is_list(word) else [word]
        except UserError as error:
            failures += 1
            fail(str(error))
            continue
        for line in lines:
            try:
                files += expand_videos(line)
            except UserError as error:
                failures += 1
                fail(str(error))
    return list(dict.fromkeys(files)), failures

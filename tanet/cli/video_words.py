"""Videos that the words of a command name: paths, folders, patterns, lists, and lists on standard input."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tanet.cli.lines import fail
from tanet.data.video_patterns import expand_videos, is_list, list_lines
from tanet.errors import UserError


def videos_of(words: Sequence[str]) -> tuple[list[Path], int]:
    """Return the videos that words name, and the number of words and lines that name none; print errors."""
    files: list[Path] = []
    failures = 0
    for word in words:
        try:
            if word == "-":
                lines = list_lines(sys.stdin.buffer.read(), name="standard input")
            else:
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
    return files, failures

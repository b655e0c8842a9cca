"""Videos that a user names: files, folders, patterns such as `videos/**/*.mp4`, and lists of paths.

A path that exists is never taken for a pattern. In a pattern, `**` stands for folders at any depth. A list is
a text file with one path, folder or pattern a line, relative to the current folder.
"""

import glob
from pathlib import Path

from tanet.data.find_videos import VIDEO_SUFFIXES, find_videos
from tanet.errors import UserError

LIST_SUFFIXES = (".txt", ".lst", ".list")


def expand_videos(word: str) -> list[Path]:
    """Return the videos that a path or a pattern names.

    A path that does not exist is returned as it is, so that the error names it when it is read.

    Raises:
        UserError: a folder has no videos, or a pattern matches none.
    """
    path = Path(word)
    if path.is_dir():
        found = find_videos(path)
        if not found:
            raise UserError(f"{word}: no videos in this folder")
        return found
    if path.exists() or not is_pattern(word):
        return [path]
    found = _matches(word)
    if not found:
        raise UserError(f"{word}: no video matches this pattern")
    return found


def is_pattern(word: str) -> bool:
    """Return whether a word has the signs of a pattern: *, ? or brackets."""
    return glob.has_magic(word)


def is_list(word: str) -> bool:
    """Return whether a word names an existing text file, by its suffix."""
    return Path(word).suffix.lower() in LIST_SUFFIXES and Path(word).is_file()


def list_lines(content: bytes, *, name: str) -> list[str]:
    """Return the lines of a list of videos, without blank ones.

    Args:
        content: content of the list.
        name: name of the list, for messages.

    Raises:
        UserError: the content is no text, or has no lines.
    """
    if b"\0" in content:
        raise UserError(f"{name}: not a text file; a list of videos has one path a line")
    # A name that is not UTF-8 keeps its bytes.
    text = content.removeprefix(b"\xef\xbb\xbf").decode(errors="surrogateescape")
    lines = [line.strip() for line in text.split("\n")]
    if not any(lines):
        raise UserError(f"{name}: an empty list of videos")
    return list(filter(None, lines))


def _matches(pattern: str) -> list[Path]:
    """Return the videos that match a pattern, and the videos in matching folders, sorted by path.

    Other files are left out, except if the pattern itself has their suffix, as in `*.xyz`.
    """
    suffix = Path(pattern).suffix
    named = bool(suffix) and not is_pattern(suffix)
    found: set[Path] = set()
    # `Path.glob` takes no absolute patterns.
    for path in map(Path, glob.glob(pattern, recursive=True)):  # noqa: PTH207
        if path.is_dir():
            found.update(find_videos(path))
        elif named or path.suffix.lower() in VIDEO_SUFFIXES:
            found.add(path)
    return sorted(found)

"""Video lists in text files: `path label` or `path frames label` (TSN's and TSM's format), or CSV.

A path may contain spaces. The columns of a CSV file are path, label and, optionally, frames.
"""

import csv
from collections import Counter
from pathlib import Path

from tanet.errors import UserError, abbreviate

ListRow = tuple[str | None, str | None, str | None]  # path, label, frames


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file that are not blank, stripped of surrounding whitespace.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_class_names(path: Path) -> list[str]:
    """Read class names, one per line, in the order of the labels.

    Raises:
        UserError: the file cannot be read, is empty, or names a class twice.
    """
    names = read_lines(path)
    if not names:
        raise UserError(f"{path}: holds no class names")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"{path}: names a class twice: {abbreviate(twice)}; each label needs its own name")
    return names


def read_list(path: Path) -> list[ListRow]:
    """Read path, label and number of frames of each video in a list; frames are None if not listed.

    Raises:
        UserError: the file cannot be read, or is not in one of the two formats.
    """
    return _csv(path) if path.suffix == ".csv" else _words(path)


def _words(path: Path) -> list[ListRow]:
    found: list[ListRow] = []
    for line in read_lines(path):
        words = line.rsplit(maxsplit=2)
        if len(words) == 3 and words[1].isdigit():
            found.append((words[0], words[2], words[1]))
        elif len(words) >= 2:
            name, label = line.rsplit(maxsplit=1)
            found.append((name, label, None))
        else:
            raise UserError(f"{path}: expected `path label` or `path frames label`, not `{line}`")
    return found


def _csv(path: Path) -> list[ListRow]:
    table = csv.DictReader(read_lines(path))
    if not {"path", "label"} <= set(table.fieldnames or ()):
        raise UserError(f"{path}: the first line must name the columns path, label and, optionally, frames")
    return [(row["path"], row["label"], row.get("frames") or None) for row in table]

"""Lists of videos as text: `path label` or `path frames label` (TSN's and TSM's format), or CSV.

A path may have spaces in it. The columns of a CSV file are path, label and, if you like, frames.
"""

import csv
from pathlib import Path

Row = tuple[str | None, str | None, str | None]  # path, label, frames


def lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty, without the space around them.

    Raises:
        ValueError: it can not be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: can not be read ({error})") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_list(path: Path) -> list[Row]:
    """What a list says of each video; frames are None where it does not say.

    Raises:
        ValueError: it can not be read, or is no such list.
    """
    return _csv(path) if path.suffix == ".csv" else _words(path)


def _words(path: Path) -> list[Row]:
    found: list[Row] = []
    for line in lines(path):
        words = line.rsplit(maxsplit=2)
        if len(words) == 3 and words[1].isdigit():
            found.append((words[0], words[2], words[1]))
        elif len(words) >= 2:
            name, label = line.rsplit(maxsplit=1)
            found.append((name, label, None))
        else:
            raise ValueError(f"{path}: expected `path label` or `path frames label`, not `{line}`")
    return found


def _csv(path: Path) -> list[Row]:
    table = csv.DictReader(lines(path))
    if not {"path", "label"} <= set(table.fieldnames or ()):
        raise ValueError(f"{path}: the first line must name the columns path, label and, if you like, frames")
    return [(row["path"], row["label"], row.get("frames") or None) for row in table]

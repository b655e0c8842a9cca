"""Read lists of videos from text files and CSV files.

Each line is `path label` or `path frames label`, the format of TSN and TSM. The separator is a space, a tab,
a comma or a semicolon. The first line may be a header with the names of the columns (path, label and,
optionally, frames); other columns are ignored. A path may contain spaces. A label is a class name, or a
number that counts from 0.

The columns start and end (in seconds, or as hours:minutes:seconds), or start_frame and end_frame, select a
part of a video. The end is not part of it. Files .json and lists of AVA are read by moment_lists.py.
"""

import csv
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from tanet.data.listed_video import ListedVideo
from tanet.data.moment_lists import Role, is_ava, read_activitynet, read_ava
from tanet.errors import UserError, abbreviate
from tanet.video.excerpt import make_part

SEPARATORS = (",", ";", "\t")
COLUMNS = {  # column → possible names of the column in a header
    "path": ("path", "video", "video_path", "file", "filename", "file_path", "filepath"),
    "label": ("label", "class", "action", "target", "category"),
    "frames": ("frames", "num_frames", "n_frames", "nframes"),
    "start": ("start", "start_time", "t_start", "start_timestamp", "begin"),
    "end": ("end", "end_time", "t_end", "stop_timestamp", "end_timestamp", "stop"),
    "start_frame": ("start_frame",),
    "end_frame": ("end_frame", "stop_frame"),
}
NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?")


@dataclass(frozen=True)
class Row:
    """One line of a list. The label and the number of frames are not converted to integers yet."""

    path: str
    label: str
    frames: str | None = None
    part: tuple[str, str, bool] | None = None
    """Start, end, and whether they are frames; "" for the start or the end of the video."""


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text file, without blank lines and without whitespace around each line.

    Bytes that are not UTF-8 become surrogate escapes, as in Python's file names. So a list can name files
    whose names are not UTF-8.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if b"\0" in data[:1024]:
        raise UserError(f"{path}: not a text file; a list must be UTF-8 text")
    text = data.decode("utf-8-sig", errors="surrogateescape")
    return [line.strip() for line in re.split(r"\r\n|\r|\n", text) if line.strip()]


def read_class_names(path: Path) -> list[str]:
    """Read a file of class names, one per line, in the order of the labels.

    Raises:
        UserError: the file cannot be read, is empty, or contains a class name twice.
    """
    names = read_lines(path)
    if not names:
        raise UserError(f"{path}: holds no class names")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(
            f"{path}: contains a class name twice ({abbreviate(twice)}); make all names different"
        )
    return names


def read_list(path: Path, *, base: Path, role: Role = "train") -> tuple[list[ListedVideo], list[str]]:
    """Read the videos in a text or CSV list. Also return notes for the user about unusual labels.

    Args:
        path: path of the list.
        base: folder that the paths in the list are relative to.
        role: subset to read of annotations in ActivityNet's form.

    Raises:
        UserError: the list cannot be read, is empty, or has a line in an unknown format.
    """
    if path.suffix.lower() == ".json":
        return read_activitynet(path, base=base, role=role)
    lines = read_lines(path)
    if not lines:
        raise UserError(f"{path}: the list is empty")
    separator = _separator(lines[0], path)
    if separator == "," and is_ava(lines[0].split(",")):
        return read_ava(path, base=base)
    rows = _rows_by_words(lines, path, base) if separator is None else _rows_by_cells(lines, path, separator)
    if not rows:
        raise UserError(f"{path}: the list is empty")
    videos = []
    for number, row in enumerate(rows, 1):
        if not row.path or not row.label:
            raise UserError(f"{path}: entry {number} lacks its path or its label")
        if row.frames and not (row.frames.isdecimal() and int(row.frames)):
            raise UserError(
                f"{path}: entry {number}: the number of frames must be a positive integer, not '{row.frames}'"
            )
        place = f"{path}: entry {number} ({row.path})"
        label = _whole_number(row.label, place)
        video = Path(f"{base / row.path}{_fragment(row, place)}")
        videos.append(ListedVideo(video, label, int(row.frames) if row.frames else None))
    changed = sum(video.label != row.label for video, row in zip(videos, rows, strict=True))
    notes = [f"{path}: {changed} labels such as 1.0 were read as the numbers 1, …"] if changed else []
    return videos, notes


def _separator(line: str, path: Path) -> str | None:
    """Return the character that separates the columns of a list, or None if spaces separate the columns."""
    for separator in SEPARATORS:
        if separator in line and (path.suffix == ".csv" or separator == "\t"):
            return separator
    # In a text list, a comma may be part of a path. A comma before the last word separates columns.
    words = line.split()
    for separator in SEPARATORS:
        if separator in line and (len(words) == 1 or words[-2].endswith(separator)):
            return separator
    return None


def _rows_by_words(lines: list[str], path: Path, base: Path) -> list[Row]:
    rows = []
    for line in lines:
        words = line.rsplit(maxsplit=2)
        if len(words) < 2:
            raise UserError(f"{path}: expected `path label` or `path frames label`, not `{line}`")
        name, label = line.rsplit(maxsplit=1)
        row = Row(name.strip(), label)
        # The last word of a path may be a number: `take 12 0` means the video `take 12` if this file exists.
        if len(words) == 3 and words[1].isdecimal():
            counted = Row(words[0], words[2], words[1])
            known = not (base / counted.path).exists() and (base / row.path).exists()
            row = row if known else counted
        rows.append(row)
    header = [word.lower() for word in lines[0].split()]
    return rows[1:] if header in (["path", "label"], ["path", "frames", "label"]) else rows


def _rows_by_cells(lines: list[str], path: Path, separator: str) -> list[Row]:
    try:
        rows = list(csv.reader(lines, delimiter=separator, skipinitialspace=True))
    except csv.Error as error:
        raise UserError(f"{path}: not a CSV list ({error}); is a quotation mark not closed?") from error
    table = [[cell.strip() for cell in cells] for cells in rows]
    header = [cell.lower() for cell in table[0]]
    columns = {
        column: header.index(name) for column, names in COLUMNS.items() for name in names if name in header
    }
    if not columns:  # no header
        columns = _columns_of(table[0], path)
        return [_row(cells, columns) for cells in table]
    if lacking := {"path", "label"} - columns.keys():
        raise UserError(
            f"{path}: the first line names no column {' and '.join(sorted(lacking))}; "
            "the header must name path, label and, optionally, frames"
        )
    return [_row(cells, columns) for cells in table[1:]]


def _columns_of(cells: list[str], path: Path) -> dict[str, int]:
    """Return the indices of the columns in a list without a header, based on the cells of the first line."""
    if len(cells) == 2:
        return {"path": 0, "label": 1}
    if len(cells) == 3 and cells[1].isdecimal():
        return {"path": 0, "frames": 1, "label": 2}
    if len(cells) == 3 and cells[2].isdecimal():
        return {"path": 0, "label": 1, "frames": 2}
    raise UserError(
        f"{path}: the first line must name the columns path, label and, optionally, frames, "
        f"because the list has {len(cells)} columns"
    )


def _row(cells: list[str], columns: dict[str, int]) -> Row:
    found = {name: cells[place] if place < len(cells) else "" for name, place in columns.items()}
    row = replace(Row(found["path"], found["label"]), frames=found.get("frames") or None)
    for first, last, in_frames in (("start", "end", False), ("start_frame", "end_frame", True)):
        if found.get(first) or found.get(last):
            if row.part:
                raise UserError(
                    f"{row.path}: a line has start and end, or start_frame and end_frame, not both"
                )
            row = replace(row, part=(found.get(first, ""), found.get(last, ""), in_frames))
    return row


def _fragment(row: Row, place: str) -> str:
    """Return the part of a video that a row selects, as the end of a path; "" for the whole video.

    Raises:
        UserError: start or end cannot be read, or the row also has a number of frames.
    """
    if row.part is None:
        return ""
    start, end, in_frames = row.part
    try:
        part = make_part(start, end, in_frames=in_frames)
    except ValueError as error:
        what = "whole numbers" if in_frames else "seconds or h:m:s"
        cause = str(error) if str(error).startswith("the end") else f"must be {what}, not '{start}', '{end}'"
        raise UserError(f"{place}: start and end: {cause}") from error
    if row.frames:
        raise UserError(f"{place}: a list has start and end, or a number of frames, not both")
    return part.fragment()


def _whole_number(label: str, place: str) -> str:
    """Return the label, with a number such as 1.0 rewritten as 1.

    Raises:
        UserError: the label is a negative or fractional number.
    """
    if not NUMBER.fullmatch(label) and (label.isdecimal() or not label.isdigit()):
        return label
    if label.isdecimal():
        return label
    if NUMBER.fullmatch(label) and float(label) >= 0 and float(label).is_integer() and label[0] != "-":
        return str(int(float(label)))
    raise UserError(
        f"{place}: label {label}: numbers of classes count from 0; use class names, or remove videos "
        "without a label"
    )

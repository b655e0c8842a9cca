"""Read annotations of parts of long videos, in the formats of ActivityNet and AVA.

    ActivityNet    {"database": {"NAME": {"subset": "training", "annotations": [{"segment": [12.5, 15.0],
                   "label": "Surfing"}]}}}; THUMOS-14, HACS and FineAction are available in this format
    AVA            NAME,second,x1,y1,x2,y2,class[,person]; classes count from 1

Each annotation becomes a part of a video (video/excerpt.py). NAME is a file name without its suffix, or a
folder name, anywhere below the folder of the videos; a prefix "v_" is ignored.
"""

import csv
import json
from pathlib import Path
from typing import Any, Literal

from tanet.data.find_videos import find_videos
from tanet.data.listed_video import ListedVideo
from tanet.errors import UserError, abbreviate
from tanet.video.excerpt import LONGEST, Part

Role = Literal["train", "val"]
SUBSETS = {
    "training": "train",
    "train": "train",
    "validation": "val",
    "val": "val",
    "testing": "test",
    "test": "test",
}
"""Names of subsets → what they are."""
AVA_SECONDS = 3.0
"""Length of a part around an annotated second: that of AVA's own segments."""
Found = tuple[list[ListedVideo], list[str]]


def read_activitynet(path: Path, *, base: Path, role: Role) -> Found:
    """Read annotations in ActivityNet's format.

    Args:
        path: the file.
        base: folder of the videos.
        role: which subset to read: training or validation. THUMOS-14 has no training subset: its validation
            subset is for training, and its test subset for validation. A file with one subset is read whole.

    Returns:
        The parts of the videos, and notes on what was left out.

    Raises:
        UserError: the file has another form, or none of its videos exists.
    """
    try:
        database = json.loads(path.read_bytes())["database"]
        wanted = _subset({_kind(video) for video in database.values()}, role)
        videos = {name: video for name, video in database.items() if wanted in (None, _kind(video))}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        form = '{"database": {NAME: {"subset": …, "annotations": [{"segment": [start, end], "label": …}]}}}'
        raise UserError(f"{path}: not ActivityNet's format, {form}") from error
    moments, empty = [], 0
    for name, video in videos.items():
        for annotation in video.get("annotations", ()):
            try:
                start, end = (float(value) for value in annotation["segment"])
                label = annotation["label"]
                if not 0 <= start <= end < LONGEST or not isinstance(label, str) or not label:
                    raise ValueError(annotation)
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(
                    f"{path}: {name}: not an annotation: {json.dumps(annotation):.120}"
                ) from error
            empty += start == end
            if start < end:
                moments.append((str(name), Part(start, end), label))
    found, notes = _located(moments, path=path, base=base)
    return found, [*notes, *([f"{path}: {empty} segments are empty and were left out"] if empty else [])]


def _kind(video: dict[str, Any]) -> str:
    return SUBSETS.get(str(video.get("subset", "")).lower(), "")


def _subset(kinds: set[str], role: Role) -> str | None:
    """Return the subset to read of those that a file has; None for the whole file."""
    if len(kinds) < 2:
        return None
    if "train" in kinds:
        return "train" if role == "train" else "val" if "val" in kinds else "test"
    return {"train": "val", "val": "test"}[role]


def is_ava(cells: list[str]) -> bool:
    """Return whether the first line of a CSV list is one of AVA's: a name, a second, a box and a class."""
    return len(cells) in (7, 8) and all(_is_number(cell) for cell in cells[1:6] if cell)


def read_ava(path: Path, *, base: Path) -> Found:
    """Read a list in AVA's format: each pair of second and class becomes a part of AVA_SECONDS seconds.

    Boxes are not used. Seconds without a class are left out.

    Raises:
        UserError: a line has another form, or none of the videos exists.
    """
    moments: dict[tuple[str, float, str], Part] = {}
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, cells in enumerate(csv.reader(file), 1):
            if not cells or (len(cells) >= 7 and not cells[6].strip()):
                continue
            try:
                second, label = float(cells[1]), int(cells[6])
                if not 0 <= second < LONGEST or label < 1:
                    raise ValueError(label)
            except (ValueError, IndexError) as error:
                form = "NAME,second,x1,y1,x2,y2,class, with classes from 1"
                raise UserError(f"{path}: line {number}: expected {form}, not {','.join(cells)}") from error
            part = Part(max(0.0, second - AVA_SECONDS / 2), second + AVA_SECONDS / 2)
            moments[cells[0].strip(), second, str(label - 1)] = part
    listed = [(name, part, label) for (name, _, label), part in moments.items()]
    found, notes = _located(listed, path=path, base=base)
    several = len(moments) - len({(name, second) for name, second, _ in moments})
    if several:
        notes.append(f"{path}: {several} seconds have several classes: each class becomes a part of its own")
    return found, notes


def _located(moments: list[tuple[str, Part, str]], *, path: Path, base: Path) -> Found:
    """Find the videos of moments. Videos that do not exist are left out, as many were deleted since."""
    if not moments:
        raise UserError(f"{path}: holds no annotations of this kind")
    places: dict[str, list[Path]] = {}
    for video in find_videos(base):
        places.setdefault(video.name if video.is_dir() else video.stem, []).append(video)
    found, missing = [], set()
    for name, part, label in moments:
        videos = places.get(name) or places.get(f"v_{name}") or []
        if len(videos) > 1:
            raise UserError(
                f"{path}: {name} is the name of {videos[0]} and of {videos[1]}: rename one of them"
            )
        if videos:
            found.append(ListedVideo(Path(f"{videos[0]}{part.fragment()}"), label))
        else:
            missing.add(name)
    if not found:
        raise UserError(
            f"{path}: none of its {len(missing)} videos is below {base}: set --data.root to their folder"
        )
    some = abbreviate(sorted(missing), 3)
    return found, [f"{path}: {len(missing)} videos are not below {base}: {some}"] if missing else []


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

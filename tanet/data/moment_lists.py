"""Read lists of moments in long videos: ActivityNet's annotations, and lists in the form of AVA's.

    ActivityNet    {"database": {"NAME": {"subset": "training", "annotations": [{"segment": [12.5, 15.0],
                   "label": "Surfing"}]}}}; THUMOS-14, HACS and FineAction come in this form, too
    AVA            NAME,second,x1,y1,x2,y2,class[,person]; classes count from 1

Each annotation becomes a part of a video (video/excerpt.py). NAME is the name of a file or folder below the
folder of the videos, without suffix; ActivityNet's files may begin with "v_".
"""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from tanet.data.find_videos import find_videos
from tanet.data.listed_video import ListedVideo
from tanet.errors import UserError, abbreviate
from tanet.video.excerpt import Part

Role = Literal["train", "val"]
SUBSETS: dict[Role, tuple[str, ...]] = {
    "train": ("training", "train"),
    "val": ("validation", "val", "testing", "test"),
}
"""Names of the subsets for training and validation, the likeliest first."""
AVA_SECONDS = 3.0
"""Length of a part around an annotated second: that of AVA's own segments."""
Found = tuple[list[ListedVideo], list[str]]


def read_activitynet(path: Path, *, base: Path, role: Role) -> Found:
    """Read annotations in ActivityNet's form.

    Args:
        path: the file.
        base: folder of the videos.
        role: which subset to read. If the file has no subset of this kind, all of its videos are read.

    Returns:
        The parts of the videos, and notes on what was left out.

    Raises:
        UserError: the file has another form, or none of its videos exists.
    """
    try:
        database = json.loads(path.read_bytes())["database"]
        subsets = {str(video.get("subset", "")).lower() for video in database.values()}
        wanted = next(({name} for name in SUBSETS[role] if name in subsets), subsets)
        moments = [
            (name, Part(*_segment(annotation["segment"])), str(annotation["label"]))
            for name, video in database.items()
            if str(video.get("subset", "")).lower() in wanted
            for annotation in video.get("annotations", ())
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not annotations in ActivityNet's form: {error!r:.100}") from error
    return _located(moments, path=path, base=base)


def _segment(values: Any) -> tuple[float, float]:
    start, end = (float(value) for value in values)
    if not 0 <= start <= end:
        raise ValueError(f"segment {values}")
    return start, end


def is_ava(cells: list[str]) -> bool:
    """Return whether the first line of a CSV list is one of AVA's: a name, a second, a box and a class."""
    return len(cells) in (7, 8) and all(_is_number(cell) for cell in cells[1:6] if cell)


def read_ava(path: Path, *, base: Path) -> Found:
    """Read a list in AVA's form: one part of AVA_SECONDS for each video, second and class.

    Boxes are not used. Seconds without a class are left out.

    Raises:
        UserError: a line has another form, or none of the videos exists.
    """
    moments: dict[tuple[str, float, str], Part] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        for number, cells in enumerate(csv.reader(file), 1):
            if len(cells) < 7 or not cells[6].strip():
                continue
            try:
                second, label = float(cells[1]), int(cells[6]) - 1
            except ValueError as error:
                raise UserError(
                    f"{path}: line {number}: not a line in AVA's form: {','.join(cells)}"
                ) from error
            part = Part(max(0.0, second - AVA_SECONDS / 2), second + AVA_SECONDS / 2)
            moments[cells[0].strip(), second, str(label)] = part
    listed = [(name, part, label) for (name, _, label), part in moments.items()]
    found, notes = _located(listed, path=path, base=base)
    several = len(moments) - len({(name, second) for name, second, _ in moments})
    if several:
        notes.append(f"{path}: {several} seconds have a further class; each class is a video of its own")
    return found, notes


def _located(moments: Iterable[tuple[str, Part, str]], *, path: Path, base: Path) -> Found:
    """Find the videos of moments. Videos that do not exist are left out, as many were deleted since."""
    places = {video.name if video.is_dir() else video.stem: video for video in find_videos(base)}
    found, missing = [], set()
    for name, part, label in moments:
        video = places.get(name) or places.get(f"v_{name}")
        if video is None:
            missing.add(name)
        else:
            found.append(ListedVideo(Path(f"{video}{part.fragment()}"), label))
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

"""Index of a data set: from the names of its videos to a list for training, with paths, frames and sizes.

    locate_videos   names → paths below ROOT, and the names that are missing
    probe_all       paths → VideoInfo or an error, in many processes; a Journal stores each result at once
    as_csv          path,label,frames,fps,height,width

A journal is a file of JSON lines, one result each. A result is valid as long as the size and modification
time of its video stay the same. So an interrupted run continues where it stopped, and a later run probes only
new videos.
"""

import csv
import io
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Self

from tanet.data.find_videos import VIDEO_SUFFIXES
from tanet.data.tools.public_datasets import DatasetVideo
from tanet.errors import UserError
from tanet.runtime.process_pool import FailedFile, map_files
from tanet.video import VideoError, VideoInfo, probe

COLUMNS = ("path", "label", "frames", "fps", "height", "width")


@dataclass(frozen=True)
class LocatedVideos:
    """Paths of the videos of a listing."""

    paths: Mapping[DatasetVideo, str]
    """Relative to the root, with forward slashes; in the order of the listing."""
    missing: tuple[str, ...]
    """Names of the videos that were not found below the root."""
    notes: tuple[str, ...]
    """Notes to the user."""


def locate_videos(root: Path, entries: Sequence[DatasetVideo]) -> LocatedVideos:
    """Search for videos by name, at any depth below the root: files, or folders of frame pictures.

    If several videos have the same name, the video in a folder named after its class is preferred (words
    separated by spaces or underscores), then a file over a folder.

    Raises:
        UserError: the root is not a folder, or holds none of the videos.
    """
    if not root.is_dir():
        raise UserError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}")
    places = _places(root, {entry.name for entry in entries})
    paths = {
        entry: min(places[entry.name], key=_likelihood(entry)) for entry in entries if entry.name in places
    }
    missing = tuple(entry.name for entry in entries if entry.name not in places)
    if not paths:
        raise UserError(
            f"{root}: holds none of the {len(entries)} videos; {entries[0].name}, for example, is missing"
        )
    notes: tuple[str, ...] = ()
    wanted = Counter(entry.name for entry in paths)
    if twice := [entry for entry in paths if len(places[entry.name]) > wanted[entry.name]]:
        first = " and ".join(sorted(places[twice[0].name])[:2])
        notes = (f"{len(twice)} names are found more than once, such as {first}; using {paths[twice[0]]}",)
    return LocatedVideos(paths, missing, notes)


def _places(root: Path, names: set[str]) -> dict[str, list[str]]:
    places: dict[str, list[str]] = defaultdict(list)
    for folder, folders, files in os.walk(root, followlinks=True):
        inside = Path(folder).relative_to(root)
        for name in folders:
            if name in names:
                places[name].append((inside / name).as_posix())
        # Do not descend into folders of frame pictures: there may be a hundred thousand.
        folders[:] = [name for name in folders if name not in names and not name.startswith(".")]
        for file in files:
            name, dot, suffix = file.rpartition(".")
            if name in names and f"{dot}{suffix}".lower() in VIDEO_SUFFIXES:
                places[name].append((inside / file).as_posix())
    return dict(places)


def _likelihood(entry: DatasetVideo) -> Callable[[str], tuple[bool, bool, str]]:
    """Return a sort key for the candidate paths of a video; the most likely path has the smallest key."""

    def key(path: str) -> tuple[bool, bool, str]:
        place = PurePosixPath(path)
        of_other_class = _words(place.parent.name) != _words(entry.label)
        return of_other_class, place.suffix.lower() not in VIDEO_SUFFIXES, path

    return key


def _words(name: str) -> str:
    return name.replace("_", " ").casefold()


def probe_all(
    root: Path, paths: Sequence[str], *, journal: "Journal", workers: int, limit: float
) -> Generator[tuple[str, VideoInfo | str], None, None]:
    """Probe many videos. Results that the journal already has come first.

    Args:
        root: folder that the paths are relative to.
        paths: the videos.
        journal: receives each result at once. A video whose process hung or died is not recorded, and is
            probed again next time.
        workers: number of processes.
        limit: time limit for one video, in seconds.

    Yields:
        The path of each video, and its VideoInfo or the reason why it cannot be read.
    """
    new = []
    for path in paths:
        if (known := journal.answer(path)) is not None:
            yield path, known
        else:
            new.append(root / path)
    for file, result in map_files(_probe, new, workers=workers, limit=limit):
        path = file.relative_to(root).as_posix()
        if isinstance(result, FailedFile):
            yield path, result.cause
        else:
            journal.add(path, result)
            yield path, result


def _probe(path: Path) -> VideoInfo | str:
    try:
        return probe(path)
    except VideoError as error:
        # For a bad picture in a folder, the error names the picture.
        return error.cause if error.path == path else f"{error.path.name}: {error.cause}"


class Journal:
    """Results of probing the videos below a root, in a file that grows by one line per result."""

    def __init__(self, path: Path, *, root: Path) -> None:
        self.path, self.root = path, root
        self._known: dict[str, dict[str, Any]] = {}
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for line in text.splitlines():
            try:
                row = json.loads(line)
                self._known[row["path"]] = row
            except (json.JSONDecodeError, KeyError, TypeError):
                continue  # a line cut off, for example by a power failure: its video is probed again
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")
        if text and not text.endswith("\n"):
            self._file.write("\n")

    def answer(self, path: str) -> VideoInfo | str | None:
        """Return the recorded result for a video; None without a result, or if the video has changed."""
        row = self._known.get(path)
        if row is None or row.get("state") != self._state(path):
            return None
        return row["cause"] if "cause" in row else VideoInfo(**row["info"])

    def add(self, path: str, answer: VideoInfo | str) -> None:
        """Write a result to the file immediately."""
        said = {"cause": answer} if isinstance(answer, str) else {"info": asdict(answer)}
        row = {"path": path, "state": self._state(path), **said}
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()

    def _state(self, path: str) -> list[int]:
        found = (self.root / path).stat()
        return [found.st_size, found.st_mtime_ns]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def as_csv(found: LocatedVideos, infos: Mapping[str, VideoInfo]) -> str:
    """Format the list of the videos that could be probed, in the order of the listing."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for entry, path in found.paths.items():
        if info := infos.get(path):
            fps = "" if info.fps is None else round(info.fps, 3)
            table.writerow((path, entry.label, info.frames, fps, info.height, info.width))
    return text.getvalue()

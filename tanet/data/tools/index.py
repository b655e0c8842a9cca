"""Index a data set: find its videos by name, and write a CSV list of them for training.

    locate_videos   find the path of each video below ROOT; collect the names of missing videos
    probe_all       probe the videos in many processes; write each result to a Journal immediately
    as_csv          format the list: path,label,frames,fps,height,width

A journal is a file with one result per line, in JSON. A result is valid as long as the size and modification
time of its video stay the same. So an interrupted run continues where it stopped, and a later run probes only
new or changed videos.
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
    """Result of `locate_videos`: the paths of the videos that were found, and the names of missing videos."""

    paths: Mapping[DatasetVideo, str]
    """Path of each video relative to the root, with forward slashes; in the order of the annotations."""
    missing: tuple[str, ...]
    """Names of the videos that were not found below the root."""
    notes: tuple[str, ...]
    """Notes for the user, for example that several files have the same name."""


def locate_videos(root: Path, entries: Sequence[DatasetVideo]) -> LocatedVideos:
    """Search for videos by name, at any depth below the root. A video is a file or a folder of frame images.

    If several videos have the same name, the function prefers a video in a folder named after its class. In
    the folder's name, underscores may replace spaces. If several videos remain, a file is preferred.

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
            f"{root}: holds none of the {len(entries)} videos; for example, {entries[0].name} is missing"
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
        # Do not search inside folders of frame images: a data set may have 100,000 of these folders.
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
    """Probe many videos. First yield the results that the journal already contains.

    Args:
        root: folder that the paths are relative to.
        paths: paths of the videos.
        journal: receives each new result immediately. If the process of a video hung or died, the journal
            receives no result, and the next run probes the video again.
        workers: number of processes.
        limit: time limit for one video, in seconds.

    Yields:
        The path of each video, and its VideoInfo or the reason why the video cannot be read.
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
        # If an image in a folder of frame images is bad, report the name of the image, too.
        return error.cause if error.path == path else f"{error.path.name}: {error.cause}"


class Journal:
    """File that stores the results of probing videos, so that a later run need not probe them again."""

    def __init__(self, path: Path, *, root: Path) -> None:
        self.path, self.root = path, root
        self._known: dict[str, dict[str, Any]] = {}
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for line in text.splitlines():
            try:
                row = json.loads(line)
                self._known[row["path"]] = row
            except (json.JSONDecodeError, KeyError, TypeError):
                continue  # the line was cut off, for example by a power failure: probe the video again
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8", errors="backslashreplace")
        if text and not text.endswith("\n"):
            self._file.write("\n")

    def answer(self, path: str) -> VideoInfo | str | None:
        """Return the stored result for a video, or None if there is no result or the video has changed."""
        row = self._known.get(path)
        if row is None or row.get("state") != self._state(path):
            return None
        return row["cause"] if "cause" in row else VideoInfo(**row["info"])

    def add(self, path: str, answer: VideoInfo | str) -> None:
        """Append a result to the file immediately."""
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
    """Return a CSV list of all videos that could be probed, in the order of the annotations."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for entry, path in found.paths.items():
        if info := infos.get(path):
            fps = "" if info.fps is None else round(info.fps, 3)
            table.writerow((path, entry.label, info.frames, fps, info.height, info.width))
    return text.getvalue()

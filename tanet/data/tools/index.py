"""From the names of a data set's videos to a list that training reads: where each lies, its frames and size.

    find     names → paths below ROOT, and the names that are missing
    probe    paths → VideoInfo or what is wrong, in many processes; a Journal keeps each answer as it comes
    as_csv   path,label,frames,fps,height,width

A journal is a file of JSON lines. An answer in it counts as long as its video keeps size and time, so that a
run that was stopped goes on where it was, and a later one probes only what is new.
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
    """Where the videos of a listing are."""

    paths: Mapping[DatasetVideo, str]
    """Relative to the root, with forward slashes; in the order of the listing."""
    missing: tuple[str, ...]
    """Names of videos that are nowhere below the root."""
    notes: tuple[str, ...]
    """What the user should know."""


def locate_videos(root: Path, entries: Sequence[DatasetVideo]) -> LocatedVideos:
    """Look for videos by name, at any depth below the root: files, or folders of frame pictures.

    Of several with one name, that in a folder of its class is taken (words parted by spaces or underscores),
    and a file before a folder.

    Raises:
        UserError: the root is no folder, or holds none of them.
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
            f"{root}: holds none of the {len(entries)} videos; {entries[0].name}, say, is not there"
        )
    notes: tuple[str, ...] = ()
    wanted = Counter(entry.name for entry in paths)
    if twice := [entry for entry in paths if len(places[entry.name]) > wanted[entry.name]]:
        first = " and ".join(sorted(places[twice[0].name])[:2])
        notes = (f"{len(twice)} names are there more than once, such as {first}; taken is {paths[twice[0]]}",)
    return LocatedVideos(paths, missing, notes)


def _places(root: Path, names: set[str]) -> dict[str, list[str]]:
    places: dict[str, list[str]] = defaultdict(list)
    for folder, folders, files in os.walk(root, followlinks=True):
        inside = Path(folder).relative_to(root)
        for name in folders:
            if name in names:
                places[name].append((inside / name).as_posix())
        # Of a folder of pictures nothing more is to be known; there may be a hundred thousand.
        folders[:] = [name for name in folders if name not in names and not name.startswith(".")]
        for file in files:
            name, dot, suffix = file.rpartition(".")
            if name in names and f"{dot}{suffix}".lower() in VIDEO_SUFFIXES:
                places[name].append((inside / file).as_posix())
    return dict(places)


def _likelihood(entry: DatasetVideo) -> Callable[[str], tuple[bool, bool, str]]:
    """Orders places of a video: the likeliest is the least."""

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
    """What each video says of itself, or what is wrong with it; those that the journal knows come first.

    Args:
        root: the base of the paths.
        paths: the videos.
        journal: takes each answer as it comes, but for those of processes that hung or died: these are asked
            for again next time.
        workers: processes at a time.
        limit: seconds for one video.
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
        # A picture of a folder goes by its own name.
        return error.cause if error.path == path else f"{error.path.name}: {error.cause}"


class Journal:
    """What is known of the videos below a root, in a file that grows a line for each."""

    def __init__(self, path: Path, *, root: Path) -> None:
        self.path, self.root = path, root
        self._known: dict[str, dict[str, Any]] = {}
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for line in text.splitlines():
            try:
                row = json.loads(line)
                self._known[row["path"]] = row
            except (json.JSONDecodeError, KeyError, TypeError):
                continue  # cut off when the power went: it is asked for again
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")
        if text and not text.endswith("\n"):
            self._file.write("\n")

    def answer(self, path: str) -> VideoInfo | str | None:
        """What is known of a video; None if nothing is, or it has changed since."""
        row = self._known.get(path)
        if row is None or row.get("state") != self._state(path):
            return None
        return row["cause"] if "cause" in row else VideoInfo(**row["info"])

    def add(self, path: str, answer: VideoInfo | str) -> None:
        """Write an answer down, at once."""
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
    """The list of those videos that could be probed, in the order of the listing."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for entry, path in found.paths.items():
        if info := infos.get(path):
            fps = "" if info.fps is None else round(info.fps, 3)
            table.writerow((path, entry.label, info.frames, fps, info.height, info.width))
    return text.getvalue()

"""Search a folder for videos: video files, .npy files with frames, and folders of frame images."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tanet.errors import UserError
from tanet.video import ARRAY_SUFFIX, PICTURE_SUFFIXES

VIDEO_SUFFIXES = (
    *(
        ".mp4",
        ".m4v",
        ".mov",
        ".qt",
        ".avi",
        ".divx",
        ".mkv",
        ".webm",
        ".mpg",
        ".mpeg",
        ".mpe",
        ".mpv",
        ".m1v",
    ),
    *(".m2v", ".wmv", ".asf", ".flv", ".f4v", ".3gp", ".3g2", ".ogv", ".ogm", ".ts", ".mts", ".m2ts", ".tod"),
    *(".vob", ".mod", ".mxf", ".dv", ".dav", ".rm", ".rmvb", ".gif", ".y4m", ".nut", ".amv", ".wtv"),
    *(".h264", ".264", ".avc", ".h265", ".265", ".hevc", ".ivf", ".obu", ARRAY_SUFFIX),
)
# Suffixes of files that are often stored next to videos. These files are ignored without a note.
COMPANIONS = (
    *("", ".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".log", ".pdf", ".html"),
    *(".srt", ".vtt", ".ass", ".wav", ".mp3", ".aac", ".m4a", ".flac", ".npz", ".pkl", ".pt", ".pth", ".mat"),
    *(".safetensors", ".h5", ".zip", ".tar", ".gz", ".ini", ".db", ".part", ".py", ".sh"),
)


@dataclass
class FoundVideos:
    """The videos that were found in a folder, and the files and links that were ignored."""

    videos: list[Path] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """Suffix → number of ignored files. Files with a suffix in COMPANIONS are not counted."""
    loops: list[Path] = field(default_factory=list)
    """Symbolic links to a folder that contains the link. They are not followed, to avoid endless loops."""

    def notes(self, folder: Path) -> list[str]:
        """Return notes for the user: one for each ignored link, and one for all ignored files."""
        notes = [f"{link} links to a folder above it and was left out" for link in self.loops]
        if self.left_out:
            kinds = ", ".join(f"{count} {suffix}" for suffix, count in self.left_out.most_common())
            notes.append(f"{folder}: files left out because their suffix is not a video's: {kinds}")
        return notes


def find_videos(folder: Path) -> list[Path]:
    """Return the videos in a folder, at any depth, sorted by path."""
    return search_videos(folder).videos


def search_videos(folder: Path, *, above: Path | None = None) -> FoundVideos:
    """Search a folder for videos, at any depth. The videos are sorted by path.

    Args:
        folder: the folder to search.
        above: parent of `folder`. Symbolic links to `folder` or `above` are not followed.

    Raises:
        UserError: the path is not a folder.
    """
    found = FoundVideos()
    around = () if above is None else (above.resolve(),)
    if folder.resolve() in around:
        found.loops.append(folder)
    else:
        _search(folder, found, above=(*around, folder.resolve()))
    return found


def _search(folder: Path, found: FoundVideos, *, above: tuple[Path, ...]) -> None:
    """Add the videos in a folder to `found`. `above` has the real paths of the folder and of its parents."""
    entries, before = visible_entries(folder), len(found.videos)
    for entry in entries:
        if entry.is_dir():
            real = entry.resolve() if entry.is_symlink() else above[-1] / entry.name
            if real in above:
                found.loops.append(entry)
            else:
                _search(entry, found, above=(*above, real))
        elif entry.suffix.lower() in VIDEO_SUFFIXES:
            found.videos.append(entry)
    others = [entry.suffix.lower() for entry in entries if not entry.is_dir()]
    others = [suffix for suffix in others if suffix not in VIDEO_SUFFIXES and suffix not in COMPANIONS]
    # Images in a folder that also contains videos are cover images, not frames.
    if len(found.videos) == before and any(suffix in PICTURE_SUFFIXES for suffix in others):
        found.videos.append(folder)
        others = [suffix for suffix in others if suffix not in PICTURE_SUFFIXES]
    found.left_out.update(others)


def visible_entries(folder: Path) -> list[Path]:
    """Return the entries of a folder in sorted order, without hidden entries.

    Raises:
        UserError: the path is not a folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))

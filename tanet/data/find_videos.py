"""Search for videos below a folder: video files, and folders of frame pictures."""

from pathlib import Path

from tanet.errors import UserError
from tanet.video import ARRAY_SUFFIX, PICTURE_SUFFIXES

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv"),
    *(".3gp", ".3g2", ".ogv", ".ts", ".mts", ".m2ts", ".gif", ARRAY_SUFFIX),
)


def find_videos(folder: Path) -> list[Path]:
    """Find the videos in a folder, at any depth: video files and folders of pictures, sorted by path."""
    entries = visible_entries(folder)
    found = []
    for entry in entries:
        if entry.is_dir():
            found += find_videos(entry)
        elif entry.suffix.lower() in VIDEO_SUFFIXES:
            found.append(entry)
    # A picture next to videos is a cover, not a frame.
    if not found and any(entry.suffix.lower() in PICTURE_SUFFIXES for entry in entries):
        return [folder]
    return found


def visible_entries(folder: Path) -> list[Path]:
    """List the entries of a folder, sorted, without hidden ones.

    Raises:
        UserError: the path is not a folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))

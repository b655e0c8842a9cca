"""Names of videos in files of results: the file name without suffix, and the part, if it is one."""

from collections.abc import Iterable
from pathlib import Path

from tanet.errors import UserError
from tanet.video.excerpt import split_part


def name_of(video: str | Path) -> str:
    """Return the name of a video, for example "match" for match.mp4, or "match#t=1,2" for a part of it."""
    path, part = split_part(video)
    name = path.name if path.is_dir() else path.stem
    return f"{name}{part.fragment()}" if part else name


def names_of(videos: Iterable[str | Path]) -> dict[str, str]:
    """Return the name of each video.

    Raises:
        UserError: two videos have the same name, so that one would replace the other.
    """
    known: dict[str, str] = {}
    for video in videos:
        name = name_of(video)
        if known.setdefault(name, str(video)) != str(video):
            raise UserError(
                f"{known[name]} and {video} have the same name {name}: rename one, or label it apart"
            )
    return {video: name for name, video in known.items()}

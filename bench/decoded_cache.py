"""Decode the videos of a data set once, into .npy files of frames, for many short trainings."""

import errno
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from unittest.mock import patch

import numpy as np

from tanet.data import streams
from tanet.data.find_videos import find_videos
from tanet.errors import UserError, one_line
from tanet.runtime.device import available_cores
from tanet.runtime.process_pool import map_in_order
from tanet.video import ARRAY_SUFFIX, open_video

FEW = 50
"""Decode up to this many videos in this process: starting worker processes would take longer."""


@dataclass(frozen=True)
class Decoded:
    """A data set of decoded videos."""

    root: Path
    """Folder with the same layout as that of the videos; an .npy file of frames replaces each video."""
    videos: int


@contextmanager
def decoded(root: str | Path, *, one_file: bool = False) -> Iterator[Decoded]:
    """Decode the videos under `root` into a temporary data set, which is deleted at the end of the context.

    The frames are not stored in /dev/shm. That folder may be small, and worker processes pass clips through
    shared memory.

    Args:
        root: folder of videos.
        one_file: decode both directions of a clip from the same file, which `source` chooses.
    """
    root = Path(root)
    with tempfile.TemporaryDirectory() as folder:
        videos = find_videos(root)
        work = partial(_decode, root=root, folder=Path(folder), one_file=one_file)
        if len(videos) <= FEW:
            list(map(work, videos))
        else:
            list(map_in_order(work, videos, workers=available_cores(), chunk=8))
        yield Decoded(Path(folder), len(videos))


@contextmanager
def kept_open() -> Iterator[None]:
    """Open each video only once. Opening a file of frames takes longer than reading a clip from it.

    Only for files of frames, which `decoded` writes: their memory is the operating system's file cache.
    """
    with patch.object(streams, "open_video", cache(open_video)):
        yield


def twins(path: str | Path) -> tuple[Path, Path] | None:
    """Return the forward and the backward file of a clip, or None if the clip has only one file."""
    forward, backward = twin_paths(Path(path))
    return (forward, backward) if forward.exists() and backward.exists() else None


def twin_paths(path: Path) -> tuple[Path, Path]:
    """Return where the forward and the backward file of a clip are, if the clip has both.

    For example, the forward file is Diving/1.mp4, and the backward file is DivingReversed/1.mp4.
    """
    name = path.parent.name.removesuffix("Reversed")
    return path.parent.with_name(name) / path.name, path.parent.with_name(f"{name}Reversed") / path.name


def source(path: str | Path) -> tuple[Path, bool]:
    """Return the file to play a clip from, and whether to play it backwards.

    The encoding of the files must not reveal the direction. The two directions of a clip were encoded
    separately, and encoding leaves artefacts. From the artefacts, a network that ignores the order of frames
    learns to be right for 58 % of arrow6's clips instead of 50 %. Other networks also see the order of the
    artefacts. So both directions of a clip are played from the same file. The clips of a folder alternate, in
    the order of their names: one is played from its forward file, the next from its backward file. Then the
    order of the artefacts does not reveal the direction in any class.
    """
    if (pair := twins(path)) is None:
        return Path(path), False
    file = pair[_names(pair[0].parent).index(pair[0].name) % 2]
    return file, file != Path(path)


@cache
def _names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def _decode(path: Path, *, root: Path, folder: Path, one_file: bool) -> None:
    file, backwards = source(path) if one_file else (path, False)
    with open_video(file) as video:
        frames = video.read(range(video.info.frames)).numpy()
    # Add the new suffix to the old one, because a.mp4 and a.avi are two videos.
    out = folder / f"{path.relative_to(root)}{ARRAY_SUFFIX}"
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        np.save(out, frames[::-1] if backwards else frames)
    except OSError as error:  # NumPy's own error for a full disk has no number and no file name
        raise UserError(
            f"{folder.parent}: no space for the decoded videos; set TMPDIR to a folder on a larger disk"
            if error.errno in (None, errno.ENOSPC)
            else one_line(error)
        ) from error

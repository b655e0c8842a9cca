"""Speed-ups for many small trainings that do not change their results.

Videos are decoded once, into .npy files of frames that all runs read. The forward and backward pass are
captured as a CUDA graph, because kernel launches limit the speed of a small network.
"""

import copy
import multiprocessing
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch

from tanet.data.find_videos import find_videos
from tanet.models.video_net import VideoNet
from tanet.recipes.recipe import Optim
from tanet.runtime.device import available_cores
from tanet.video import ARRAY_SUFFIX, open_video

FEW = 50
"""Decode up to this many videos in this process: starting worker processes would take longer."""


@dataclass(frozen=True)
class Decoded:
    """A data set of decoded videos."""

    root: Path
    """Folder like that of the videos, with .npy files in their places."""
    videos: int


@contextmanager
def decoded(root: str | Path, *, one_file: bool = False) -> Iterator[Decoded]:
    """Decode the videos under `root` into a temporary data set, which is deleted at the end of the context.

    The frames are not stored in /dev/shm: it may be small, and worker processes pass clips through it.

    Args:
        root: folder of videos.
        one_file: play both directions of a clip from the same file, chosen by `source`.
    """
    root = Path(root)
    with tempfile.TemporaryDirectory() as folder:
        videos = find_videos(root)
        work = partial(_decode, root=root, folder=Path(folder), one_file=one_file)
        if len(videos) <= FEW:
            list(map(work, videos))
        else:
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(available_cores(), mp_context=spawn) as pool:
                list(pool.map(work, videos, chunksize=8))
        yield Decoded(Path(folder), len(videos))


def twins(path: str | Path) -> tuple[Path, Path] | None:
    """Return the files of a clip's two directions, Diving/1.mp4 and DivingReversed/1.mp4, or None."""
    path = Path(path)
    name = path.parent.name.removesuffix("Reversed")
    forward, backward = (path.parent.with_name(name + end) / path.name for end in ("", "Reversed"))
    return (forward, backward) if forward.exists() and backward.exists() else None


def source(path: str | Path) -> tuple[Path, bool]:
    """Return the file to play a clip from, and whether to play it backwards.

    This keeps the encoding from revealing the direction. Each direction was encoded by itself, which leaves
    artefacts. From these, a network that ignores the order of frames learns to be right in 58 % of arrow6's
    clips instead of 50 %, and other networks see the order of the artefacts. So both directions of a clip are
    played from one file: for every other clip of a folder, in the order of names, from the forward file, and
    for the rest from the backward file. Then the order of the artefacts reveals nothing either, in any class.
    """
    if (pair := twins(path)) is None:
        return Path(path), False
    file = pair[_names(pair[0].parent).index(pair[0].name) % 2]
    return file, file != Path(path)


@cache
def _names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def capture_passes(network: VideoNet, optim: Optim, *, size: int) -> None:
    """Capture the forward and the backward pass as one CUDA graph each, in the modules' current mode.

    Args:
        network: network on a GPU.
        optim: settings, of which `batch` and `precision` are used.
        size: side of the clips, in pixels.
    """
    state = copy.deepcopy(network.state_dict())
    device = next(network.parameters()).device
    clips = torch.randn(optim.batch, network.frames, 3, size, size, device=device)
    half = optim.precision == "bfloat16"
    with torch.autocast("cuda", torch.bfloat16, enabled=half, cache_enabled=False):
        torch.cuda.make_graphed_callables(network, (clips,))
    network.load_state_dict(state)  # the warm-up changed the running statistics


def _decode(path: Path, *, root: Path, folder: Path, one_file: bool) -> None:
    file, backwards = source(path) if one_file else (path, False)
    with open_video(file) as video:
        frames = video.read(range(video.info.frames)).numpy()
    # The suffix is added, not replaced: a.mp4 and a.avi are two videos.
    out = folder / f"{path.relative_to(root)}{ARRAY_SUFFIX}"
    out.parent.mkdir(parents=True, exist_ok=True)
    np.save(out, frames[::-1] if backwards else frames)

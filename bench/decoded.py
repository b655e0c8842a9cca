"""Speed-ups for many small trainings that do not change their results, for benchmarks that compare networks.

Videos are decoded once, into files of raw frames that all runs read (the reader is exact). The forward and
backward pass are captured as a CUDA graph, because kernel launches limit the speed of a small network.
"""

import copy
import hashlib
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from tanet.data.find_videos import find_videos
from tanet.models.video_net import VideoNet
from tanet.recipes.recipe import Optim
from tanet.runtime.device import available_cores
from tanet.training.optimizer import make_optimizer
from tanet.video import Video, open_video

FEW = 50
"""Decode up to this many videos in this process: starting worker processes would take longer."""


class Decoded(Video):
    """A video whose decoded frames are stored in a file."""

    def __init__(self, path: str | Path, folder: Path) -> None:
        self.path = Path(path)
        self._pictures = _pictures(_raw(path, folder))
        self.frames, *size, _ = self._pictures.shape
        self._size = (size[0], size[1])

    def read(self, indices: ArrayLike | torch.Tensor, *, short_side: int | None = None) -> torch.Tensor:
        assert short_side is None
        return torch.from_numpy(self._pictures[np.asarray(indices)])


@dataclass(frozen=True)
class Raw:
    """A folder of decoded videos."""

    folder: Path
    videos: int

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Make data sets read the decoded videos inside this context, also in processes started within it."""
        begin = multiprocessing.get_start_method()
        if sys.platform == "linux":  # elsewhere fork is unsafe, so workers open the videos themselves
            multiprocessing.set_start_method("fork", force=True)
        try:
            with mock.patch("tanet.data.dataset.open_video", partial(Decoded, folder=self.folder)):
                yield
        finally:
            multiprocessing.set_start_method(begin, force=True)


@contextmanager
def decoded(root: str | Path, *, one_file: bool = False) -> Iterator[Raw]:
    """Decode the videos under `root`; inside this context, data sets read the decoded frames.

    The frames are not stored in /dev/shm: it may be small, and worker processes pass clips through it.

    Args:
        root: folder of videos.
        one_file: play both directions of a clip from the same file, chosen by `source`.
    """
    with tempfile.TemporaryDirectory() as raw:
        videos = find_videos(Path(root))
        work = partial(_decode, folder=Path(raw), one_file=one_file)
        if len(videos) <= FEW:
            list(map(work, videos))
        else:
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(available_cores(), mp_context=spawn) as pool:
                list(pool.map(work, videos, chunksize=8))
        found = Raw(Path(raw), len(videos))
        with found.reading():
            yield found


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


def capturing(size: int) -> Callable[..., torch.optim.Optimizer]:
    """Return a replacement for `make_optimizer` that also captures the network, for clips of size × size."""

    def make(network: nn.Module, optim: Optim, *, trained: bool = False) -> torch.optim.Optimizer:
        assert isinstance(network, VideoNet)
        optimizer = make_optimizer(network, optim, trained=trained)
        capture_passes(network.train(), optim, size=size)
        return optimizer

    return make


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


def _decode(path: Path, *, folder: Path, one_file: bool) -> None:
    file, backwards = source(path) if one_file else (path, False)
    with open_video(file) as video:
        frames = video.read(range(video.info.frames)).numpy()
    np.save(_raw(path, folder), frames[::-1] if backwards else frames)


@cache
def _pictures(file: Path) -> np.ndarray:
    """Map the frames of a file, [frames, H, W, 3].

    The result is cached for all epochs: opening the file takes a third of the time of cutting a clip.
    """
    return np.load(file, mmap_mode="r")


def _raw(path: str | Path, folder: Path) -> Path:
    return folder / f"{hashlib.sha256(os.fsencode(path)).hexdigest()}.npy"

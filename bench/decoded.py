"""What makes many small trainings quick and changes nothing else, for benchmarks that compare networks.

Videos are decoded once, into files of raw frames that all runs read (the reader is exact); and the
forward and backward pass of the network are captured as a CUDA graph, since a small one waits for launches.
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
"""Videos that are decoded in less time than processes take to start."""


class Decoded(Video):
    """A video whose frames lie decoded in a file."""

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
    """Videos that lie decoded in a folder."""

    folder: Path
    videos: int

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Within it, clips are cut from these, and no video is opened; nor by processes begun within it."""
        begin = multiprocessing.get_start_method()
        if sys.platform == "linux":  # elsewhere a fork is unsafe, and workers open the videos themselves
            multiprocessing.set_start_method("fork", force=True)
        try:
            with mock.patch("tanet.data.dataset.open_video", partial(Decoded, folder=self.folder)):
                yield
        finally:
            multiprocessing.set_start_method(begin, force=True)


@contextmanager
def decoded(root: str | Path, *, one_file: bool = False) -> Iterator[Raw]:
    """Within it, videos under `root` are read decoded; if `one_file`, each from its `source`.

    Not in /dev/shm: it may be small, and processes hand clips over there.
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
    """The files of a clip's two ways: Diving/1.mp4 and DivingReversed/1.mp4; None if one is not there."""
    path = Path(path)
    name = path.parent.name.removesuffix("Reversed")
    forward, backward = (path.parent.with_name(name + end) / path.name for end in ("", "Reversed"))
    return (forward, backward) if forward.exists() and backward.exists() else None


def source(path: str | Path) -> tuple[Path, bool]:
    """The file to play a clip from, and whether backwards, so that its coding does not tell its way.

    Each way was encoded by itself. By the traces of that, a network that is blind to the order of frames
    learns to be right in 58 % of arrow6's clips instead of 50; and others see in which order the traces come.
    So both ways of a clip are played from one file: of every other clip, along the names of a folder, from
    the forward one. So the traces' order tells nothing either, in any class.
    """
    if (pair := twins(path)) is None:
        return Path(path), False
    file = pair[_names(pair[0].parent).index(pair[0].name) % 2]
    return file, file != Path(path)


@cache
def _names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def capturing(size: int) -> Callable[..., torch.optim.Optimizer]:
    """A stand-in for `make_optimizer` that also captures the network's passes, for clips of size × size."""

    def make(network: nn.Module, optim: Optim, *, trained: bool = False) -> torch.optim.Optimizer:
        assert isinstance(network, VideoNet)
        optimizer = make_optimizer(network, optim, trained=trained)
        capture_passes(network.train(), optim, size=size)
        return optimizer

    return make


def capture_passes(network: VideoNet, optim: Optim, *, size: int) -> None:
    """Record forward and backward pass, each to be launched as one; in the mode that the modules are in.

    Args:
        network: on a GPU.
        optim: its `batch` and `precision` count.
        size: side of the clips.
    """
    state = copy.deepcopy(network.state_dict())
    device = next(network.parameters()).device
    clips = torch.randn(optim.batch, network.frames, 3, size, size, device=device)
    half = optim.precision == "bfloat16"
    with torch.autocast("cuda", torch.bfloat16, enabled=half, cache_enabled=False):
        torch.cuda.make_graphed_callables(network, (clips,))
    network.load_state_dict(state)  # warming up moved the running statistics


def _decode(path: Path, *, folder: Path, one_file: bool) -> None:
    file, backwards = source(path) if one_file else (path, False)
    with open_video(file) as video:
        frames = video.read(range(video.info.frames)).numpy()
    np.save(_raw(path, folder), frames[::-1] if backwards else frames)


@cache
def _pictures(file: Path) -> np.ndarray:
    """[frames, H, W, 3]; mapped once for all epochs, as opening the file takes a third of cutting a clip."""
    return np.load(file, mmap_mode="r")


def _raw(path: str | Path, folder: Path) -> Path:
    return folder / f"{hashlib.sha256(os.fsencode(path)).hexdigest()}.npy"

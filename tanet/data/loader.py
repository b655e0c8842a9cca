"""Batches for the network, from workers that may meet a bad file, hang, or die.

A sample that can not be read is replaced by none. Its batch is filled from the samples that follow in the
epoch's order, so every good video still comes once an epoch; and as the order of the good ones does not
depend on who read them, the same seed gives the same batches whatever the number of workers. A worker that
hangs or dies ends the run, and what it was reading is named.
"""

import gc
import os
import re
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from tanet.data.dataset import EpochOrder, EvalClips, TrainClips
from tanet.data.gpu_transforms import RawViews, Views, join
from tanet.recipes.recipe import Data
from tanet.runtime.device import available_cores
from tanet.video import VideoError

Batch = tuple[Views, torch.Tensor]  # views, labels


@dataclass(frozen=True)
class BadVideo:
    """A video that could not be read, so that nothing stands in its place."""

    number: int
    """Of the sample in its dataset."""
    error: VideoError


def check_bad(bad: Mapping[int, VideoError], *, videos: int, max_bad: float) -> None:
    """Refuse too many bad videos.

    Raises:
        ValueError: more than the part `max_bad` of all `videos` can not be read.
    """
    if len(bad) > max_bad * videos:
        last = list(bad.values())[-1]
        raise ValueError(
            f"{len(bad)} of {videos} videos can not be read, more than the part {max_bad:g} that is allowed "
            f"(--data.max-bad); the last: {last}"
        )


class Feed:
    """Full batches (views, labels) of a dataset; a context that ends when the batches are no longer wanted.

    With an `order` (training) the batch size is exact, and a last batch that is not full is left out unless
    it is the only one; without one (testing) all samples come, in their own order.

    Args:
        clips: what to read.
        batch: samples in a batch.
        data: its `workers`, `bad_files`, `max_bad` and `timeout` count.
        order: of one epoch.
        device: where the batches will go.
        videos: of which data.max_bad is a part; None: those of `clips`, where these are not but a share.
        report: is told of each bad video, once.

    Raises:
        VideoError: a video can not be read, and data.bad_files is "strict".
        ValueError: too many can not be read; or a worker died, or took too long.
    """

    def __init__(
        self,
        clips: TrainClips | EvalClips,
        *,
        batch: int,
        data: Data,
        order: EpochOrder | None = None,
        device: torch.device | str = "cpu",
        videos: int | None = None,
        report: Callable[[BadVideo], None] | None = None,
    ) -> None:
        self.videos = len(clips) if videos is None else videos
        self.clips, self.data, self.order, self.report = clips, data, order, report
        self.batch = min(batch, len(clips) if order is None else len(order))
        self.pinned = torch.device(device).type == "cuda"
        self.bad: dict[int, VideoError] = {}  # number → why, of all epochs so far
        # With an order: for each batch handed out, how many keys of the epoch are used up with it, so that a
        # resumed epoch starts at the next (`order.start`). Who takes a batch takes its number, in turn.
        self.used: deque[int] = deque()
        workers = min(data.workers, available_cores())
        # What each worker is at: its process, and the key of its sample plus 1, or 0. In shared memory.
        self.desks = torch.zeros(workers, 2, dtype=torch.int64).share_memory_()
        self.loader = DataLoader(
            _Watched(clips, self.desks),
            batch_size=self.batch,
            sampler=order,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self.pinned,
            timeout=data.timeout if workers else 0,
            collate_fn=_collate,
            worker_init_fn=_settle_in,
            generator=torch.Generator(),  # else each epoch would draw from the generator of dropout
        )

    def __len__(self) -> int:
        """Batches, if no video is bad."""
        if self.order is None:
            return len(self.loader)
        return len(self.order) // self.batch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # PyTorch tells of a dead worker wherever the main process stands at that moment.
        if isinstance(error, RuntimeError) and str(error).startswith(
            ("DataLoader worker", "DataLoader timed")
        ):
            raise ValueError(self._loss(str(error).splitlines()[0])) from error

    def __iter__(self) -> Iterator[Batch]:
        kept: Batch | None = None  # samples still without a full batch
        places: list[int] = []  # of the kept samples in the epoch's order
        read = self.order.start if self.order else 0
        alone = read == 0  # whether no other batch of the epoch came
        self.used.clear()
        with _no_collection():
            batches = iter(self.loader)  # starts the workers
        for views, labels, bad, good in batches:
            for video in bad:
                self.note(video)
            places += [read + place for place in good]
            read += len(good) + len(bad)
            if views is None:
                continue
            kept = self._after(kept, views, labels) if kept else (views, labels)
            if self.order is None or len(kept[1]) >= self.batch:
                places = places[self.batch :]
                self.used.append(places[0] if places else read)
                yield kept[0][: self.batch], kept[1][: self.batch]
                alone = False
                kept = (kept[0][self.batch :], kept[1][self.batch :]) if len(kept[1]) > self.batch else None
        if kept and alone:
            self.used.append(read)
            yield kept

    def _after(self, kept: Batch, views: Views, labels: torch.Tensor) -> Batch:
        """What was kept and what came, in page-locked memory where the loader's batches are."""
        both, answers = _joined(kept[0], views), torch.cat((kept[1], labels))
        return (both.pin_memory(), answers.pin_memory()) if self.pinned else (both, answers)

    def note(self, video: BadVideo) -> None:
        """Leave a video out that this process, or another, could not read."""
        if self.data.bad_files == "strict":
            raise video.error
        if video.number in self.bad:
            return
        self.bad[video.number] = video.error
        if self.report:
            self.report(video)
        check_bad(self.bad, videos=self.videos, max_bad=self.data.max_bad)

    def _loss(self, cause: str) -> str:
        """One line about a worker that hangs or died."""
        samples, count = self.clips.samples, len(self.clips)
        busy = {pid: samples[(key - 1) % count].path for pid, key in self.desks.tolist() if key}
        if "timed out" in cause:
            names = ", ".join(busy.values()) or "nothing"
            return f"no batch within {self.data.timeout:g} s (--data.timeout); being read: {names}"
        dead = {int(number) for number in re.findall(r"\d+", cause)}
        names = ", ".join(name for pid, name in busy.items() if pid in dead) or "nothing"
        return (
            f"a process that decodes died ({cause}); being read: {names}. Too little memory, perhaps: "
            "try fewer --data.workers"
        )


class _Watched(Dataset[Any]):
    """A dataset whose readers leave word of what they are at, and hand bad videos over as values."""

    def __init__(self, clips: TrainClips | EvalClips, desks: torch.Tensor) -> None:
        self.clips, self.desks = clips, desks

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: int) -> tuple[Views, int] | BadVideo:
        desk = self.desks[worker.id] if (worker := get_worker_info()) else torch.zeros(2, dtype=torch.int64)
        desk[0], desk[1] = os.getpid(), key + 1
        item = self.clips[key]
        desk[1] = 0
        return BadVideo(key % len(self), item) if isinstance(item, VideoError) else item


def _collate(items: list[Any]) -> tuple[Views | None, torch.Tensor | None, list[BadVideo], list[int]]:
    """The batch, its labels, the bad videos, and the places of the good samples among all."""
    bad = [item for item in items if isinstance(item, BadVideo)]
    good = [place for place, item in enumerate(items) if not isinstance(item, BadVideo)]
    if not good:
        return None, None, bad, good
    views, labels = zip(*(items[place] for place in good), strict=True)
    batch = join(views) if isinstance(views[0], RawViews) else default_collate(list(views))
    return batch, torch.tensor(labels), bad, good


def _joined(kept: Views, more: Views) -> Views:
    if isinstance(kept, RawViews):
        assert isinstance(more, RawViews)
        return join((kept, more))
    assert isinstance(more, torch.Tensor)
    return torch.cat((kept, more))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Within it, garbage stays; also in processes that are forked within it, until they `_settle_in`."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _settle_in(_: int) -> None:
    """What a worker does first."""
    # Garbage of the main process, inherited by a fork, may lie on a GPU, say a captured network: to free it
    # here would be the end of this process, which can not speak to the GPU.
    gc.freeze()
    gc.enable()
    _leave_signals()


def _leave_signals() -> None:
    """Signals to all of a training's processes: what is done about them is for the main one to say."""
    if os.name == "posix":
        # torchrun and SLURM send SIGTERM to the whole group of processes. Workers that ended with it would
        # leave the main process without the batch that it saves its state after.
        os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # by which it says so; its own handler came along

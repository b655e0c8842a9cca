"""Data loader that copes with unreadable files, and with workers that hang or die.

A sample that cannot be read is left out, and its batch is filled with the samples that follow in the order
of the epoch. So each good video appears once per epoch, and the same seed gives the same batches for any
number of workers. If a worker hangs or dies, the run ends and the error names the file that it was reading.
"""

import gc
import os
import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from tanet.data.dataset import EpochSampler, EvalClips, TrainClips
from tanet.data.gpu_transforms import DeferredViews, Views, concatenate_views
from tanet.errors import UserError
from tanet.recipes.recipe import Data
from tanet.runtime.device import available_cores
from tanet.runtime.events import OnEvent, ignore
from tanet.video import VideoError


@dataclass(frozen=True)
class Batch:
    """One batch of samples."""

    views: Views
    """uint8 [B, …]; after `prefetch_to_device`, float32 and normalised."""
    labels: torch.Tensor
    """int64 [B]."""
    keys: tuple[int, ...]
    """Keys of the samples in their dataset: epoch · len + number."""
    used: int
    """Number of the epoch's keys consumed up to and including this batch; a resumed epoch starts there."""


@dataclass(frozen=True)
class BadVideo:
    """Event: a video could not be read. Its slot in the batch goes to the next video."""

    number: int
    """Number of the sample in its dataset."""
    error: VideoError


def check_bad_fraction(bad: Mapping[int, VideoError], *, videos: int, max_bad: float) -> None:
    """Check that not too many videos are bad.

    Raises:
        UserError: more than the fraction `max_bad` of all `videos` cannot be read.
    """
    if len(bad) > max_bad * videos:
        last = list(bad.values())[-1]
        raise UserError(
            f"{len(bad)} of {videos} videos cannot be read, more than the allowed fraction {max_bad:g} "
            f"(--data.max-bad); the last: {last}"
        )


class ClipLoader:
    """Iterable over the batches of a dataset. Use it as a context manager: it translates worker errors.

    With an `order` (training), every batch is full: an incomplete last batch is dropped, unless it is the
    only one. Without an order (testing), all samples are returned, in the order of the dataset.

    Args:
        clips: the dataset.
        batch: samples per batch.
        data: the loader uses `workers`, `bad_files`, `max_bad` and `timeout`.
        order: sampler of the keys of one epoch.
        device: device that the batches will be copied to.
        videos: number of videos that data.max_bad is a fraction of; None for the length of `clips`.
        on_event: receives each `BadVideo`, once.

    Raises:
        VideoError: a video cannot be read, and data.bad_files is "strict".
        UserError: too many videos cannot be read, or a worker died or exceeded the timeout.
    """

    def __init__(
        self,
        clips: TrainClips | EvalClips,
        *,
        batch: int,
        data: Data,
        order: EpochSampler | None = None,
        device: torch.device | str = "cpu",
        videos: int | None = None,
        on_event: OnEvent = ignore,
    ) -> None:
        self.videos = len(clips) if videos is None else videos
        self.clips, self.data, self.order, self.on_event = clips, data, order, on_event
        self.batch = min(batch, len(clips) if order is None else len(order))
        self.pinned = torch.device(device).type == "cuda"
        self.bad: dict[int, VideoError] = {}  # number → cause, over all epochs so far
        workers = min(data.workers, available_cores())
        # Shared memory. A row holds a worker's process ID, and 1 + the key of the sample it reads, or 0.
        self.worker_status = torch.zeros(workers, 2, dtype=torch.int64).share_memory_()
        self.loader = DataLoader(
            _ReportingDataset(clips, self.worker_status),
            batch_size=self.batch,
            sampler=order,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=self.pinned,
            timeout=data.timeout if workers else 0,
            collate_fn=_collate,
            worker_init_fn=_init_worker,
            generator=torch.Generator(),  # the default one also serves dropout: leave its state alone
        )

    def __len__(self) -> int:
        """Return the number of batches if no video is bad."""
        if self.order is None:
            return len(self.loader)
        return len(self.order) // self.batch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # PyTorch raises the error of a dead worker at whatever line the main process is executing.
        if isinstance(error, RuntimeError) and str(error).startswith(
            ("DataLoader worker", "DataLoader timed")
        ):
            raise UserError(self._describe_dead_worker(str(error).splitlines()[0])) from error

    def __iter__(self) -> Iterator[Batch]:
        kept: _Samples | None = None  # samples that do not fill a batch yet
        read = self.order.start if self.order else 0
        yielded = read > 0  # whether this epoch has already produced a batch
        with _garbage_collection_off():
            batches = iter(self.loader)  # starts the workers
        for views, labels, keys, bad, good in batches:
            for video in bad:
                self.record_bad(video)
            places = tuple(read + place for place in good)
            read += len(good) + len(bad)
            if views is None:
                continue
            new = _Samples(views, labels, keys, places)
            kept = new if kept is None else kept.followed_by(new, pinned=self.pinned)
            if self.order is None or len(kept.labels) >= self.batch:
                rest = kept.after(self.batch)
                yield kept.batch(self.batch, used=rest.places[0] if rest else read)
                kept, yielded = rest, True
        if kept and not yielded:
            yield kept.batch(self.batch, used=read)

    def record_bad(self, video: BadVideo) -> None:
        """Record a video that this or another rank could not read, so that it is left out."""
        if self.data.bad_files == "strict":
            raise video.error
        if video.number in self.bad:
            return
        self.bad[video.number] = video.error
        self.on_event(video)
        check_bad_fraction(self.bad, videos=self.videos, max_bad=self.data.max_bad)

    def _describe_dead_worker(self, cause: str) -> str:
        """Describe in one line which worker hangs or died, and what it was reading."""
        samples, count = self.clips.samples, len(self.clips)
        busy = {pid: samples[(key - 1) % count].path for pid, key in self.worker_status.tolist() if key}
        if "timed out" in cause:
            names = ", ".join(busy.values()) or "nothing"
            return f"no batch within {self.data.timeout:g} s (--data.timeout); being read: {names}"
        dead = {int(number) for number in re.findall(r"\d+", cause)}
        names = ", ".join(name for pid, name in busy.items() if pid in dead) or "nothing"
        return (
            f"a data loading worker died ({cause}); being read: {names}. Perhaps memory ran out: "
            "try fewer --data.workers"
        )


@dataclass(frozen=True)
class _Samples:
    """Readable samples in the order of the epoch."""

    views: Views
    labels: torch.Tensor
    keys: tuple[int, ...]
    places: tuple[int, ...]
    """Positions in the order of the epoch."""

    def followed_by(self, new: "_Samples", *, pinned: bool) -> "_Samples":
        """Append samples; the result is in page-locked memory if `pinned`."""
        views, labels = _concatenate(self.views, new.views), torch.cat((self.labels, new.labels))
        if pinned:
            views, labels = views.pin_memory(), labels.pin_memory()
        return _Samples(views, labels, self.keys + new.keys, self.places + new.places)

    def after(self, count: int) -> "_Samples | None":
        """Return the samples after the first `count`; None if there are none."""
        if len(self.labels) <= count:
            return None
        return _Samples(self.views[count:], self.labels[count:], self.keys[count:], self.places[count:])

    def batch(self, count: int, *, used: int) -> Batch:
        """Return the first `count` samples as a batch."""
        return Batch(self.views[:count], self.labels[:count], self.keys[:count], used)


class _ReportingDataset(Dataset[Any]):
    """Dataset wrapper that records what each worker reads, and returns bad videos as values."""

    def __init__(self, clips: TrainClips | EvalClips, worker_status: torch.Tensor) -> None:
        self.clips, self.worker_status = clips, worker_status

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: int) -> tuple[Views, int, int] | BadVideo:
        worker = get_worker_info()
        status = self.worker_status[worker.id] if worker else torch.zeros(2, dtype=torch.int64)
        status[0], status[1] = os.getpid(), key + 1
        item = self.clips[key]
        status[1] = 0
        if isinstance(item, VideoError):
            return BadVideo(key % len(self), item)
        views, label = item
        return views, label, key


def _collate(
    items: list[Any],
) -> tuple[Views | None, torch.Tensor, tuple[int, ...], list[BadVideo], list[int]]:
    """Return views, labels and keys of the good samples, the bad videos, and the good samples' positions."""
    bad = [item for item in items if isinstance(item, BadVideo)]
    good = [place for place, item in enumerate(items) if not isinstance(item, BadVideo)]
    if not good:
        return None, torch.empty(0, dtype=torch.int64), (), bad, good
    views, labels, keys = zip(*(items[place] for place in good), strict=True)
    batch = concatenate_views(views) if isinstance(views[0], DeferredViews) else default_collate(list(views))
    return batch, torch.tensor(labels), keys, bad, good


def _concatenate(kept: Views, more: Views) -> Views:
    if isinstance(kept, DeferredViews):
        assert isinstance(more, DeferredViews)
        return concatenate_views((kept, more))
    assert isinstance(more, torch.Tensor)
    return torch.cat((kept, more))


@contextmanager
def _garbage_collection_off() -> Iterator[None]:
    """Disable garbage collection. Processes forked meanwhile start with it disabled; see `_init_worker`."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _init_worker(_: int) -> None:
    """Prepare a worker process."""
    # Garbage inherited from the main process may hold GPU resources, for instance a captured CUDA graph.
    # Freeing such garbage here would kill this process, which cannot use the GPU. So never collect it.
    gc.freeze()
    gc.enable()
    _ignore_signals()


def _ignore_signals() -> None:
    """Leave signals to the main process, which decides what to do about them."""
    if os.name == "posix":
        # torchrun and SLURM send SIGTERM to the whole process group. If workers ended with it, the main
        # process would wait in vain for the batch after which it saves its state.
        os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # how the main process ends workers

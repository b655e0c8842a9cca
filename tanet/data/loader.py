"""Data loader that handles unreadable videos, and workers that hang or die.

If a video cannot be read, the next readable sample of the epoch takes its slot in the batch. So each readable
video appears once per epoch, and the same seed gives the same batches for any number of workers. If a worker
hangs or dies, the run ends with an error that names the video that the worker was reading.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from tanet.data.dataset import EpochSampler, EvalClips, TrainClips
from tanet.data.gpu_transforms import DeferredViews, Views, concatenate_views
from tanet.data.worker_setup import garbage_collection_off, init_worker
from tanet.errors import UserError
from tanet.recipes.recipe import Data
from tanet.runtime.device import available_cores
from tanet.runtime.events import Note, OnEvent, ignore
from tanet.video import VideoError


@dataclass(frozen=True)
class Batch:
    """A batch of views, with their labels and sample keys."""

    views: Views
    """uint8 [B, …], or deferred views; after `prefetch_to_device`, float32 [B, …], normalised."""
    labels: torch.Tensor
    """int64 [B]."""
    keys: tuple[int, ...]
    """Keys of the samples: epoch · len(dataset) + sample number."""
    used: int
    """Number of keys that all batches of the epoch up to this batch have used; a resumed epoch skips them."""
    boxes: torch.Tensor | None = None
    """Boxes of the views' regions, [B, …, R, 4], or None if there is no file of boxes."""


@dataclass(frozen=True)
class BadVideo:
    """Event that reports an unreadable video. The next readable video takes its slot in the batch."""

    number: int
    """Index of the video in its dataset."""
    error: VideoError


def check_bad_fraction(bad: Mapping[int, VideoError], *, videos: int, max_bad: float) -> None:
    """Raise an error if too many videos are unreadable.

    Raises:
        UserError: the number of unreadable videos is more than `max_bad` times the number of all `videos`.
    """
    if len(bad) > max_bad * videos:
        last = list(bad.values())[-1]
        raise UserError(
            f"{len(bad)} of {videos} videos cannot be read, more than the fraction of {max_bad:g} that "
            f"--data.max-bad allows; last error: {last}"
        )


class ClipLoader:
    """Iterable over the batches of a dataset. As a context manager, it turns worker errors into `UserError`.

    With an `order` (training), every batch is full: the loader drops an incomplete last batch, unless the
    epoch has no other batch. Without an `order` (testing), it returns all samples in the dataset's order.

    Args:
        clips: the dataset.
        batch: samples per batch.
        data: the loader uses `workers`, `bad_files`, `max_bad` and `timeout`.
        order: sampler that yields the sample keys of one epoch.
        device: device that the batches will be copied to.
        videos: number of videos to which the fraction data.max_bad applies; None means all of `clips`.
        on_event: receives each `BadVideo` once, and a `Note` for each unusual video.

    Raises:
        VideoError: a video cannot be read, and data.bad_files is "strict".
        UserError: too many videos cannot be read, a worker died, or a batch took longer than data.timeout.
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
        self.bad: dict[int, VideoError] = {}  # index of each unreadable video → error, over all epochs
        self.told: set[str] = set()  # notes already reported
        workers = min(data.workers, available_cores())
        # Shared memory, one row per worker: process ID, and 1 + key of the sample being read (0 if none).
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
            worker_init_fn=init_worker,
            generator=torch.Generator(),  # the default generator also serves dropout: do not change its state
        )

    def __len__(self) -> int:
        """Return the number of batches per epoch, assuming that all videos can be read."""
        if self.order is None:
            return len(self.loader)
        return len(self.order) // self.batch

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # If a worker dies, PyTorch raises an error in the main process, at the line that is being executed.
        if isinstance(error, RuntimeError) and str(error).startswith(
            ("DataLoader worker", "DataLoader timed")
        ):
            raise UserError(self._describe_dead_worker(str(error).splitlines()[0])) from error

    def __iter__(self) -> Iterator[Batch]:
        kept: _Samples | None = None  # samples left over for the next batch
        read = self.order.start if self.order else 0
        yielded = read > 0  # whether this epoch has already produced a batch
        with garbage_collection_off():
            batches = iter(self.loader)  # starts the workers
        for parts in batches:
            if isinstance(parts[0], UserError):
                raise parts[0]
            views, labels, boxes, keys, bad, good, notes = parts
            for video in bad:
                self.record_bad(video)
            for note in notes:
                self._tell(note)
            places = tuple(read + place for place in good)
            read += len(good) + len(bad)
            if views is None:
                continue
            new = _Samples(views, labels, boxes, keys, places)
            kept = new if kept is None else kept.followed_by(new, pinned=self.pinned)
            if self.order is None or len(kept.labels) >= self.batch:
                rest = kept.after(self.batch)
                yield kept.batch(self.batch, used=rest.places[0] if rest else read)
                kept, yielded = rest, True
        if kept and not yielded:
            yield kept.batch(self.batch, used=read)

    def record_bad(self, video: BadVideo) -> None:
        """Record and report a video that this rank or another rank could not read."""
        if self.data.bad_files == "strict":
            raise video.error
        if video.number in self.bad:
            return
        self.bad[video.number] = video.error
        self.on_event(video)
        check_bad_fraction(self.bad, videos=self.videos, max_bad=self.data.max_bad)

    def _tell(self, note: str) -> None:
        """Report a note about an unusual video, unless the same note was reported before."""
        if note not in self.told:
            self.told.add(note)
            self.on_event(Note(note))

    def _describe_dead_worker(self, cause: str) -> str:
        """Describe in one line how a worker failed, and which videos were being read."""
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
    """Readable samples that are not in a batch yet, in the order of the epoch."""

    views: Views
    labels: torch.Tensor
    boxes: torch.Tensor | None
    keys: tuple[int, ...]
    places: tuple[int, ...]
    """Position of each sample in the order of the epoch."""

    def followed_by(self, new: "_Samples", *, pinned: bool) -> "_Samples":
        """Append samples. If `pinned`, put the result into page-locked memory."""
        views, labels = _concatenate(self.views, new.views), torch.cat((self.labels, new.labels))
        boxes = torch.cat((self.boxes, new.boxes)) if self.boxes is not None else None  # type: ignore[arg-type]
        if pinned:
            views, labels = views.pin_memory(), labels.pin_memory()
        return _Samples(views, labels, boxes, self.keys + new.keys, self.places + new.places)

    def after(self, count: int) -> "_Samples | None":
        """Return all samples after the first `count`, or None if there are no more."""
        if len(self.labels) <= count:
            return None
        boxes = None if self.boxes is None else self.boxes[count:]
        return _Samples(
            self.views[count:], self.labels[count:], boxes, self.keys[count:], self.places[count:]
        )

    def batch(self, count: int, *, used: int) -> Batch:
        """Return the first `count` samples as a batch."""
        boxes = None if self.boxes is None else self.boxes[:count]
        return Batch(self.views[:count], self.labels[:count], self.keys[:count], used, boxes)


_Item = tuple[Views, int, torch.Tensor | None, int, list[str]]
"""Views, label, boxes, key and notes of a sample."""


class _ReportingDataset(Dataset[Any]):
    """Dataset wrapper that records which sample each worker reads. It returns bad videos as `BadVideo`."""

    def __init__(self, clips: TrainClips | EvalClips, worker_status: torch.Tensor) -> None:
        self.clips, self.worker_status = clips, worker_status

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(
        self, key: int
    ) -> "tuple[Views, int, torch.Tensor | None, int, list[str]] | BadVideo | UserError":
        worker = get_worker_info()
        status = self.worker_status[worker.id] if worker else torch.zeros(2, dtype=torch.int64)
        status[0], status[1] = os.getpid(), key + 1
        try:
            item = self.clips[key]
        except UserError as error:
            return error  # PyTorch would wrap the error with the worker's traceback
        status[1] = 0
        if isinstance(item, VideoError):
            return BadVideo(key % len(self), item)
        views, label, boxes = item
        notes, self.clips.notes = self.clips.notes, []
        return views, label, boxes, key, notes


def _collate(items: list[Any]) -> tuple[Any, ...]:
    """Collate samples: views, labels, boxes, keys, bad videos, the readable samples' positions, notes."""
    for item in items:
        if isinstance(item, UserError):
            return (item,)
    bad = [item for item in items if isinstance(item, BadVideo)]
    good = [place for place, item in enumerate(items) if not isinstance(item, BadVideo)]
    if not good:
        return None, torch.empty(0, dtype=torch.int64), None, (), bad, good, []
    views, labels, boxes, keys, notes = zip(*(items[place] for place in good), strict=True)
    batch = concatenate_views(views) if isinstance(views[0], DeferredViews) else default_collate(list(views))
    regions = None if boxes[0] is None else torch.stack(boxes)
    return batch, torch.tensor(labels), regions, keys, bad, good, [note for own in notes for note in own]


def _concatenate(kept: Views, more: Views) -> Views:
    if isinstance(kept, DeferredViews):
        assert isinstance(more, DeferredViews)
        return concatenate_views((kept, more))
    assert isinstance(more, torch.Tensor)
    return torch.cat((kept, more))

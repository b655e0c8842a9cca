"""From labelled videos to views: what the data loader's workers run.

A dataset knows video, sampling and transforms, never the model. Every random choice for a sample comes from
(seed, epoch, its number), so neither the number of workers nor the order of samples changes it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from tanet import sampling, transforms
from tanet.annotation import Sample
from tanet.recipe import Data, Eval
from tanet.video import VideoError, open_video


class TrainClips(Dataset[Any]):
    """One random view of each video: (uint8 [T, 3, S, S], label).

    The key of a sample is epoch · len + number: the epoch travels with the sample, so that workers which
    live on from epoch to epoch need not be told.
    """

    def __init__(
        self, samples: Sequence[Sample], data: Data, *, frames: int, classes: Sequence[str], seed: int = 0
    ) -> None:
        self.samples, self.data, self.frames, self.seed = samples, data, frames, seed
        # What a class is called in the mirror; None if its videos are not mirrored.
        self.mirrored: Sequence[int | None] = [None] * len(classes)
        if data.flip == "plain":
            self.mirrored = range(len(classes))
        elif data.flip == "mirror":
            self.mirrored = transforms.mirror_labels(tuple(classes))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: int) -> tuple[torch.Tensor, int] | VideoError:
        epoch, number = divmod(key, len(self))
        sample, data = self.samples[number], self.data
        generator = np.random.default_rng((self.seed, epoch, number))
        try:
            with open_video(sample.path) as clip:
                indices = sampling.train_indices(
                    frame_count(sample, clip.info.frames),
                    frames=self.frames,
                    sampling=data.sampling,
                    window=data.window,
                    generator=generator,
                )
                frames = clip.read(indices)  # [T, H, W, 3]
        except VideoError as error:
            return error
        other = self.mirrored[sample.label]
        view, mirrored = transforms.train_view(
            frames,
            size=data.size,
            resize=data.resize,
            scales=data.scales,
            flip=other is not None,
            generator=generator,
        )
        return view, other if other is not None and mirrored else sample.label


class EvalClips(Dataset[Any]):
    """All views of each video: (uint8 [V·crops, T, 3, S, S], label)."""

    def __init__(self, samples: Sequence[Sample], data: Data, eval: Eval, *, frames: int) -> None:
        self.samples, self.data, self.eval, self.frames = samples, data, eval, frames

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int] | VideoError:
        sample, data = self.samples[number], self.data
        try:
            with open_video(sample.path) as clip:
                indices = sampling.test_indices(
                    frame_count(sample, clip.info.frames),
                    frames=self.frames,
                    clips=self.eval.clips,
                    sampling=data.sampling,
                    window=data.window,
                )
                frames = clip.read(indices)  # [V, T, H, W, 3]
        except VideoError as error:
            return error
        views = transforms.test_views(
            frames, resize=self.eval.resize, size=self.eval.size, crops=self.eval.crops
        )
        return views, sample.label


class EpochOrder(Sampler[int]):
    """The keys of one epoch, shuffled by (seed, epoch)."""

    def __init__(self, length: int, *, seed: int) -> None:
        self.length, self.seed, self.epoch = length, seed, 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length)
        return iter((self.epoch * self.length + order).tolist())


def loader(
    dataset: Dataset[Any],
    *,
    batch: int,
    workers: int,
    order: EpochOrder | None = None,
    device: torch.device | str = "cpu",
) -> DataLoader[Any]:
    """Batches of a dataset. With an `order` (training) a last batch that is not full is left out."""
    length = len(dataset)  # type: ignore[arg-type]
    return DataLoader(
        dataset,
        batch_size=min(batch, length),
        sampler=order,
        drop_last=order is not None,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.device(device).type == "cuda",
        collate_fn=_collate,
    )


def batches(loader: DataLoader[Any]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The loader's batches (views, labels).

    Raises:
        ValueError: a worker died.
        VideoError: a video could not be read. It comes from a worker as a value and is raised here, so that
            the user sees one line that names the file and not the worker's trace.
    """
    feed = iter(loader)
    while True:
        try:
            batch = next(feed, None)
        except RuntimeError as error:  # PyTorch's word for a worker that was killed
            raise ValueError(
                f"a process that decodes died ({str(error).splitlines()[0]}): too little memory, perhaps; "
                "try fewer --data.workers"
            ) from error
        if batch is None:
            return
        if isinstance(batch, VideoError):
            raise batch
        yield batch


def frame_count(sample: Sample, found: int) -> int:
    """How many frames of the video to draw from."""
    if sample.frames is not None and sample.frames > found:
        raise VideoError(sample.path, f"the list says {sample.frames} frames, but it has {found}")
    return sample.frames or found


def _collate(items: list[Any]) -> Any:
    bad = [item for item in items if isinstance(item, VideoError)]
    return bad[0] if bad else default_collate(items)

"""Datasets that turn labelled videos into views, the cropped clips that a network gets.

The datasets run in the data loader's workers and do not depend on the network. The random choices for a
sample are seeded with (seed, epoch, sample number). So the same sample gets the same view for any number of
workers and any order of the samples. loader.py collects the samples into batches.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from tanet.data import frame_sampling, transforms
from tanet.data.box_file import read_boxes
from tanet.data.boxes import boxes_of_frames, train_boxes
from tanet.data.gpu_transforms import DeferredViews, defer_view
from tanet.data.mirror_labels import mirror_labels
from tanet.data.samples import Sample
from tanet.data.streams import check_first, count_of, open_sample, read_frames, starts_of
from tanet.data.views import read_views_with_boxes
from tanet.recipes.recipe import Data, Eval
from tanet.video import VideoError

Item = tuple[torch.Tensor | DeferredViews, int, torch.Tensor | None] | VideoError
"""A view, its label, and the boxes of its regions, if there is a file of boxes; or why there is no view."""


class TrainClips(Dataset[Any]):
    """Dataset that returns a random training view of each video, its label, and the boxes of its regions.

    The view is uint8 [T, C, S, S], or `DeferredViews` if the device makes the views (data.transform_on).
    A sample is requested by its key: epoch · len(dataset) + sample number. Because the key contains the
    epoch, persistent workers need not be told when a new epoch starts.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        data: Data,
        *,
        frames: int,
        classes: Sequence[str],
        seed: int = 0,
        flows: int = 0,
    ) -> None:
        if data.boxes:
            read_boxes(data.boxes).check(samples)
        self.samples, self.data, self.frames, self.flows, self.seed = samples, data, frames, flows, seed
        check_first(samples, flows=flows)
        self.notes: list[str] = []  # notes about unusual videos; the loader collects the notes
        # For each class: the label of its mirrored videos, or None if its videos must not be mirrored.
        self.mirrored: Sequence[int | None] = [None] * len(classes)
        if data.flip == "plain":
            self.mirrored = range(len(classes))
        elif data.flip == "mirror":
            self.mirrored = mirror_labels(tuple(classes))
        elif data.flip == "published":
            found = mirror_labels(tuple(classes))
            self.mirrored = [own if other is None else other for own, other in enumerate(found)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: int) -> Item:
        epoch, number = divmod(key, len(self))
        sample, data = self.samples[number], self.data
        generator = np.random.default_rng((self.seed, epoch, number))
        try:
            with open_sample(sample, data=data, flows=self.flows) as clip:
                count = count_of(sample, clip)
                indices = frame_sampling.train_indices(
                    starts_of(count, flows=self.flows),
                    frames=self.frames,
                    sampling=data.sampling,
                    window=data.window,
                    segments=data.segments,
                    rate=data.rate,
                    fps=clip.fps,
                    generator=generator,
                )
                frames = read_frames(clip, indices, flows=self.flows, count=count)  # [T, H, W, C]
                self.notes += [f"{sample.path}: {note}" for note in clip.notes]
        except VideoError as error:
            return error
        other = self.mirrored[sample.label]
        cut = _draw_crop(frames, data, flip=other is not None, generator=generator)
        make = defer_view if data.transform_on == "device" else transforms.train_view
        label = other if other is not None and cut.mirrored else sample.label
        return (
            make(frames, cut, size=data.size),
            label,
            self._boxes(sample, clip.first + indices, frames, cut),
        )

    def _boxes(
        self, sample: Sample, indices: np.ndarray, frames: torch.Tensor, cut: transforms.CropSpec
    ) -> torch.Tensor | None:
        """Return the boxes of a training view, [⌈T/2⌉, R, 4], or None if there is no file of boxes."""
        if not self.data.boxes:
            return None
        file, (height, width) = read_boxes(self.data.boxes), frames.shape[1:3]
        found = boxes_of_frames(
            file.find(sample.path), indices[None], height=height, width=width, most=file.most
        )
        return train_boxes(found[0], cut)


class EvalClips(Dataset[Any]):
    """Dataset that returns all evaluation views of each video, [V·crops, T, C, S, S], its label, and boxes.

    Views are uint8. Boxes of their regions are [V·crops, ⌈T/2⌉, R, 4]; None if there is no file of boxes.
    """

    def __init__(
        self, samples: Sequence[Sample], data: Data, eval: Eval, *, frames: int, flows: int = 0
    ) -> None:
        if data.boxes:
            read_boxes(data.boxes).check(samples)
        self.samples, self.data, self.eval, self.frames, self.flows = samples, data, eval, frames, flows
        check_first(samples, flows=flows)
        self.notes: list[str] = []  # notes about unusual videos; the loader collects the notes

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int, torch.Tensor | None] | VideoError:
        sample, data = self.samples[number], self.data
        try:
            with open_sample(sample, data=data, flows=self.flows) as clip:
                views, boxes = read_views_with_boxes(
                    clip,
                    name=sample.path,
                    frames=self.frames,
                    flows=self.flows,
                    data=data,
                    eval=self.eval,
                    count=count_of(sample, clip),
                )
                self.notes += [f"{sample.path}: {note}" for note in clip.notes]
        except VideoError as error:
            return error
        return views, sample.label, boxes


class EpochSampler(Sampler[int]):
    """Sampler of the keys that a rank reads in one epoch. The order depends only on (seed, epoch).

    Keys are explained in `TrainClips`. Set the attributes `epoch` and `start` only between epochs. A resumed
    epoch skips its first `start` keys, but `len` still returns the length of the full epoch.
    """

    def __init__(self, length: int, *, seed: int, rank: int = 0, world_size: int = 1) -> None:
        self.length, self.seed, self.rank, self.world_size = length, seed, rank, world_size
        self.epoch = self.start = 0

    def __len__(self) -> int:
        return len(range(self.rank, self.length, self.world_size))

    def __iter__(self) -> Iterator[int]:
        return iter(self.keys()[self.start :])

    def keys(self) -> list[int]:
        """Return all keys of this rank in the current epoch, in order. `start` has no effect on them."""
        keys = epoch_keys(
            self.length, seed=self.seed, epoch=self.epoch, rank=self.rank, world_size=self.world_size
        )
        return keys.tolist()


def epoch_keys(length: int, *, seed: int, epoch: int, rank: int = 0, world_size: int = 1) -> np.ndarray:
    """Return the sample keys that a rank reads in an epoch, in order, as int64.

    Over all ranks, each sample appears exactly once. No sample is repeated to give all ranks the same number
    of samples, so the ranks' numbers of samples may differ by one.
    """
    order = np.random.default_rng((seed, epoch)).permutation(length)
    return epoch * length + order[rank::world_size]


def _draw_crop(
    frames: torch.Tensor, data: Data, *, flip: bool, generator: np.random.Generator
) -> transforms.CropSpec:
    """Draw the crop of a training view by the rules of a recipe."""
    height, width = frames.shape[1:3]
    if data.short_sides:
        return transforms.draw_jittered_crop(
            height,
            width,
            short_sides=data.short_sides,
            size=data.size,
            flip=flip,
            generator=generator,
            resize_width=data.resize_width,
        )
    return transforms.draw_crop(
        height,
        width,
        resize=data.resize,
        resize_width=data.resize_width,
        scales=data.scales,
        flip=flip,
        snap=(data.size, data.snap),
        generator=generator,
    )

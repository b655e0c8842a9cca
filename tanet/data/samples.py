"""Value classes for labelled videos: one sample, and the split of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass

from tanet.data.shards.format import ShardEntry
from tanet.video import VideoError


@dataclass(frozen=True)
class Sample:
    """One labelled video."""

    path: str
    label: int
    frames: int | None = None
    """Number of frames to use, counted from the first; None for all."""
    shard_entry: ShardEntry | None = None
    """Location in a shard; None for a video in its own file or folder."""


@dataclass(frozen=True)
class Split:
    """The labelled videos of one data set."""

    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    classes: tuple[str, ...]
    """Class names in the order of the labels."""
    warnings: tuple[str, ...] = ()
    """Warnings to the user about how the split was made."""


def frame_count(sample: Sample, found: int) -> int:
    """Return the number of frames to draw from: the listed number, or all `found` frames.

    Raises:
        VideoError: the list states more frames than the video has.
    """
    if sample.frames is not None and sample.frames > found:
        raise VideoError(sample.path, f"the list says {sample.frames} frames, but it has {found}")
    return sample.frames or found


def spread_over_classes(samples: Sequence[Sample], *, limit: int) -> list[Sample]:
    """Choose at most `limit` samples, balanced over the classes: the first of each class, the second, …"""
    turns: dict[int, int] = {}
    order = []
    for sample in samples:
        turns[sample.label] = turns.get(sample.label, -1) + 1
        order.append(turns[sample.label])
    chosen = sorted(range(len(samples)), key=lambda number: (order[number], number))[:limit]
    return [samples[number] for number in sorted(chosen)]

"""Labelled videos as values: one sample, and the split of a data set."""

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
    """How many of its frames to use, from the first; None for all."""
    shard_entry: ShardEntry | None = None
    """Where it lies if not in a file or folder of its own."""


@dataclass(frozen=True)
class Split:
    """The labelled videos of one data set."""

    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    classes: tuple[str, ...]
    """Names in the order of the labels."""
    warnings: tuple[str, ...] = ()
    """What the user should know about the way it was split."""


def frame_count(sample: Sample, found: int) -> int:
    """How many frames of the video to draw from."""
    if sample.frames is not None and sample.frames > found:
        raise VideoError(sample.path, f"the list says {sample.frames} frames, but it has {found}")
    return sample.frames or found


def spread_over_classes(samples: Sequence[Sample], *, limit: int) -> list[Sample]:
    """At most `limit` of the samples, as many of each class as can be: the first of each, the second, …"""
    turns: dict[int, int] = {}
    order = []
    for sample in samples:
        turns[sample.label] = turns.get(sample.label, -1) + 1
        order.append(turns[sample.label])
    chosen = sorted(range(len(samples)), key=lambda number: (order[number], number))[:limit]
    return [samples[number] for number in sorted(chosen)]

"""Data classes for a labelled video, and for the training and validation videos of a data set."""

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
    """Number of frames to use, counted from the first frame; None uses all frames."""
    shard_entry: ShardEntry | None = None
    """Location of the video in a shard; None if the video is not in a shard."""
    flow: str | ShardEntry = ""
    """Folder of the video's optical flow, or its location in a shard; "" if the video itself is the flow, or
    if flow is computed."""


@dataclass(frozen=True)
class Split:
    """The training and validation videos of a data set, with the names of its classes."""

    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    classes: tuple[str, ...]
    """Class names in the order of the labels."""
    warnings: tuple[str, ...] = ()
    """Warnings for the user, for example that some classes have no training videos."""


def frame_count(sample: Sample, found: int) -> int:
    """Return how many frames of a video, counted from the first frame, may be used for clips.

    The function returns the number in the video's list. If the list states no number, it returns `found`, the
    number of frames in the video.

    Raises:
        VideoError: the list states more frames than the video has.
    """
    if sample.frames is not None and sample.frames > found:
        raise VideoError(sample.path, f"the list states {sample.frames} frames, but the video has {found}")
    return sample.frames or found


def flow_count(sample: Sample, found: int) -> int:
    """Return how many optical flows of a video, counted from the first, may be used for clips.

    A list may state the number of frames (flows + 1), of flows, or of flow pictures (2 · flows, as in TSM's
    lists). If it states fewer frames than the video has, only the flows
    between these frames are used.

    Raises:
        VideoError: the list states more frames than the video has.
    """
    stated = sample.frames
    if stated is None or stated in (found, found + 1, 2 * found):
        return found
    if stated > found:
        raise VideoError(
            sample.path, f"the list states {stated} frames, but the flow is that of {found + 1} frames"
        )
    return max(1, stated - 1)


def spread_over_classes(samples: Sequence[Sample], *, limit: int) -> list[Sample]:
    """Choose at most `limit` samples, balanced over the classes, and return them in their original order.

    The function chooses the first sample of each class, then the second sample of each class, and so on.
    """
    turns: dict[int, int] = {}
    order = []
    for sample in samples:
        turns[sample.label] = turns.get(sample.label, -1) + 1
        order.append(turns[sample.label])
    chosen = sorted(range(len(samples)), key=lambda number: (order[number], number))[:limit]
    return [samples[number] for number in sorted(chosen)]

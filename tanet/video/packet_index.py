"""Index from frames to packets, built without decoding.

Packets sorted by time are in display order, also for variable frame rates. To read a frame, only its group of
pictures must be decoded, from the key packet up to it. Packets are numbered as stored, frames as displayed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import av

# Decoders with one picture per packet → whether skipping pictures that are marked as unreferenced leaves the
# other frames unchanged. In HEVC, a higher temporal layer may still refer to a marked picture. The last three
# decoders skip nothing.
SKIPS_EXACTLY = {"h264": True, "mpeg4": True, "hevc": False, "vp9": False, "libdav1d": False, "mjpeg": False}
# Containers that store display times. In other containers, the times of reordered pictures are guesses.
STORES_TIMES = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flv")
UNKNOWN = np.iinfo(np.int64).min  # sorts before all other times


@dataclass(frozen=True)
class PacketTable:
    """Metadata of packets, without their data, as columns."""

    time: NDArray[np.int64]  # display time
    decoded: NDArray[np.int64]  # decoding time
    size: NDArray[np.int64]  # in bytes
    key: NDArray[np.bool_]
    discard: NDArray[np.bool_]  # hidden by the file's edit list

    @classmethod
    def of(cls, packets: Sequence[av.Packet]) -> Self:
        """Collect the columns from packets."""
        return cls(
            np.array([UNKNOWN if p.pts is None else p.pts for p in packets], np.int64),
            np.array([UNKNOWN if p.dts is None else p.dts for p in packets], np.int64),
            np.array([p.size for p in packets], np.int64),
            np.array([p.is_keyframe for p in packets], bool),
            np.array([p.is_discard for p in packets], bool),
        )


@dataclass(frozen=True)
class PacketIndex:
    """Mapping from frames to the packets that must be decoded for them."""

    times: list[int]  # packet → its display time, which the decoder passes on to its frame
    order: list[int]  # frame → packet
    start: list[int]  # packet → the key packet at which decoding must start
    delay: int  # reorder delay: largest number of pictures decoded before one, but displayed after it
    skips: bool  # whether the decoder may skip unreferenced pictures

    @classmethod
    def of(cls, heads: PacketTable, codec: av.VideoCodecContext, *, container: str) -> Self | None:
        """Build the index; None if the packets do not determine the frames and their order for certain."""
        times = heads.time
        if codec.name not in SKIPS_EXACTLY or codec.field_order > 1 or heads.discard.all():
            return None  # field_order: an interlaced frame may be split over two packets
        if not heads.key[0] or times[0] == UNKNOWN or times.min() < times[0]:
            return None  # a time is missing, or the first frames refer to pictures that were cut off
        as_stored = not codec.has_b_frames and np.array_equal(times, heads.decoded)
        in_order = np.argsort(times, kind="stable")
        order = in_order[~heads.discard[in_order]]
        if not (as_stored or container in STORES_TIMES) or (np.diff(times[order]) == 0).any():
            return None
        keys, group = np.flatnonzero(heads.key), np.cumsum(heads.key) - 1
        # A picture displayed before the key picture of its group may refer to the previous group.
        start = np.where(times < times[keys[group]], keys[np.maximum(group - 1, 0)], keys[group])
        # The largest distance of a picture's stored position behind its display position is the number of
        # pictures that are stored before it but displayed after it.
        delay = int((in_order - np.arange(len(times))).max())
        return cls(times.tolist(), order.tolist(), start.tolist(), delay, SKIPS_EXACTLY[codec.name])

    def without(self, silent: Set[int]) -> Self:
        """Return the index without these packets, which show no frame."""
        return replace(self, order=[at for at in self.order if at not in silent])

    def runs(self, packets: Iterable[int]) -> list[range]:
        """Return the packets to decode for the frames of these packets; overlapping runs are merged."""
        runs: list[range] = []
        for start, at in sorted((self.start[at], at) for at in packets):
            if runs and start in runs[-1]:
                start, at = runs[-1].start, max(runs.pop()[-1], at)
            runs.append(range(start, at + 1))
        return runs


def maybe_empty_packets(heads: PacketTable, codec: av.VideoCodecContext) -> list[int]:
    """Return the packets that may show no frame.

    A coded MPEG-4 picture has at least one bit per macroblock. A picture that repeats the previous picture
    may instead be marked as not coded, and then takes a dozen bytes.
    """
    if codec.name != "mpeg4":
        return []
    # In bytes; the minimum of 32 leaves a margin above a dozen.
    enough = max(-(-codec.width // 16) * -(-codec.height // 16) / 8, 32)
    return np.flatnonzero(heads.size < enough).tolist()

"""What packets tell about frames without decoding.

Sorted by time they give the order of display, also for variable frame rates. A wanted frame then costs its
group of pictures from the key packet up to it. Packets are numbered as stored, frames as shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import av

# Decoders whose packet always holds one picture → whether leaving out those marked as unreferenced is exact:
# in HEVC a higher temporal layer may still refer to them, and the other decoders leave out nothing.
SKIPS_EXACTLY = {"h264": True, "mpeg4": True, "hevc": False, "vp9": False, "libdav1d": False, "mjpeg": False}
# Containers that store when a frame is shown; in others that is a guess as soon as pictures are reordered.
STORES_TIMES = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flv")
UNKNOWN = np.iinfo(np.int64).min  # a time before all others


@dataclass(frozen=True)
class PacketTable:
    """Packets without their data, in columns."""

    time: NDArray[np.int64]  # when its picture is shown
    decoded: NDArray[np.int64]  # when it is decoded
    size: NDArray[np.int64]  # in bytes
    key: NDArray[np.bool_]
    discard: NDArray[np.bool_]  # by the file's edit list it is not shown

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
    """Which packets to decode for which frames."""

    times: list[int]  # packet → its time, which its frame keeps through the decoder
    order: list[int]  # frame → packet
    start: list[int]  # packet → the key packet from which decoding reaches it
    delay: int  # the most pictures that are decoded before one, but shown after it
    skips: bool  # whether the decoder may leave out what is unreferenced

    @classmethod
    def of(cls, heads: PacketTable, codec: av.VideoCodecContext, *, container: str) -> Self | None:
        """None where the packets do not say for certain which frames there are, and in which order."""
        times = heads.time
        if codec.name not in SKIPS_EXACTLY or codec.field_order > 1 or heads.discard.all():
            return None  # field_order: an interlaced frame may be split over two packets
        if not heads.key[0] or times[0] == UNKNOWN or times.min() < times[0]:
            return None  # a time is missing, or the first frames refer to what was cut off before them
        as_stored = not codec.has_b_frames and np.array_equal(times, heads.decoded)
        in_order = np.argsort(times, kind="stable")
        order = in_order[~heads.discard[in_order]]
        if not (as_stored or container in STORES_TIMES) or (np.diff(times[order]) == 0).any():
            return None
        keys, group = np.flatnonzero(heads.key), np.cumsum(heads.key) - 1
        # What is shown before its key picture may refer to the group before.
        start = np.where(times < times[keys[group]], keys[np.maximum(group - 1, 0)], keys[group])
        # A picture that waits for its turn the longest waits for all that are stored earlier but shown later.
        delay = int((in_order - np.arange(len(times))).max())
        return cls(times.tolist(), order.tolist(), start.tolist(), delay, SKIPS_EXACTLY[codec.name])

    def without(self, silent: Set[int]) -> Self:
        """The index where these packets show no frame."""
        return replace(self, order=[at for at in self.order if at not in silent])

    def runs(self, packets: Iterable[int]) -> list[range]:
        """The packets to decode for these; what overlaps is one run, so that nothing decodes twice."""
        runs: list[range] = []
        for start, at in sorted((self.start[at], at) for at in packets):
            if runs and start in runs[-1]:
                start, at = runs[-1].start, max(runs.pop()[-1], at)
            runs.append(range(start, at + 1))
        return runs


def maybe_empty_packets(heads: PacketTable, codec: av.VideoCodecContext) -> list[int]:
    """Packets that may show nothing.

    An MPEG-4 picture spends at least a bit a macroblock, or is marked as not coded, as encoders do with one
    that repeats the last; that takes a dozen bytes.
    """
    if codec.name != "mpeg4":
        return []
    enough = max(-(-codec.width // 16) * -(-codec.height // 16) / 8, 32)  # bytes
    return np.flatnonzero(heads.size < enough).tolist()

"""Index from frames to packets, built from the times of the packets, without decoding.

Sorting packets by display time gives the order of the frames, also for variable frame rates. To read a frame,
decode the packets of its group of pictures, from the key packet up to the frame's own packet. Packets are
numbered in the order in which the file stores them. Frames are numbered in display order.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Self, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import av

# Decoders that expect one picture per packet. The value says whether the decoder may skip pictures.
# A decoder may skip a picture that is marked as unreferenced if the other frames stay the same.
# In HEVC, a picture of a higher temporal layer may refer to a picture that is marked as unreferenced.
# The decoders for VP9, AV1 and MJPEG do not skip pictures.
SKIPS_EXACTLY = {"h264": True, "mpeg4": True, "hevc": False, "vp9": False, "libdav1d": False, "mjpeg": False}
# Containers that store display times. In other containers, FFmpeg guesses the times of reordered pictures.
STORES_TIMES = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flv")
UNKNOWN = np.iinfo(np.int64).min  # time of a packet without a time; it sorts before all other times


@dataclass(frozen=True)
class PacketTable:
    """Metadata of all packets, without their data. Each property is one array."""

    time: NDArray[np.int64]  # display time
    decoded: NDArray[np.int64]  # decoding time
    size: NDArray[np.int64]  # in bytes
    key: NDArray[np.bool_]
    discard: NDArray[np.bool_]  # whether the file's edit list hides the packet

    @classmethod
    def of(cls, packets: Sequence[av.Packet]) -> Self:
        """Build the table from the metadata of packets."""
        return cls(
            np.array([UNKNOWN if p.pts is None else p.pts for p in packets], np.int64),
            np.array([UNKNOWN if p.dts is None else p.dts for p in packets], np.int64),
            np.array([p.size for p in packets], np.int64),
            np.array([p.is_keyframe for p in packets], bool),
            np.array([p.is_discard for p in packets], bool),
        )


class Packets(Sequence["av.Packet"]):
    """The packets of a stream, in the order in which the file stores them. The base class has no packets."""

    has_b_pictures = False
    """Whether a picture may be displayed before one that is stored earlier, by the types of the pictures."""

    def __len__(self) -> int:
        return 0

    @overload
    def __getitem__(self, at: int) -> av.Packet: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[av.Packet]: ...
    def __getitem__(self, at: int | slice) -> av.Packet | Sequence[av.Packet]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        return self._packet(range(len(self))[at])

    def _packet(self, at: int) -> av.Packet:
        """Return a packet by its number, which is in range."""
        raise NotImplementedError

    def close(self) -> None:
        """Free the packets."""


@dataclass(frozen=True)
class PacketIndex:
    """Mapping from frames to the packets that must be decoded for them."""

    times: NDArray[np.int64]  # packet → display time, which the decoder copies to the frame
    order: array[int]  # frame → packet
    start: array[int]  # packet → key packet where decoding must start
    # Reorder delay: the largest number of pictures that are decoded before a picture but displayed after it.
    delay: int
    skips: bool  # whether the decoder may skip pictures that are marked as unreferenced

    @classmethod
    def of(cls, heads: PacketTable, codec: av.VideoCodecContext, *, container: str) -> Self | None:
        """Build the index. Return None if the packets do not determine the frames and their order."""
        times = heads.time
        if codec.name not in SKIPS_EXACTLY or codec.field_order > 1 or heads.discard.all():
            return None  # a frame of interlaced video (field_order > 1) may be split over two packets
        if not heads.key[0] or times[0] == UNKNOWN or times.min() < times[0]:
            return None  # a time is missing, or the first frames refer to pictures that were cut off
        as_stored = not codec.has_b_frames and np.array_equal(times, heads.decoded)
        # Long videos have hundreds of thousands of packets: numbers of four bytes halve the memory.
        in_order = np.argsort(times, kind="stable").astype(np.int32)
        order = in_order[~heads.discard[in_order]]
        if not (as_stored or container in STORES_TIMES) or (np.diff(times[order]) == 0).any():
            return None
        keys = np.flatnonzero(heads.key).astype(np.int32)
        group = np.cumsum(heads.key, dtype=np.int32) - 1
        # A picture displayed before the key picture of its group may refer to the previous group.
        start = np.where(times < times[keys[group]], keys[np.maximum(group - 1, 0)], keys[group])
        # The delay is the largest number of places by which a picture is stored later than it is displayed.
        delay = int((in_order - np.arange(len(times), dtype=np.int32)).max())
        return cls(times, _array(order), _array(start), delay, SKIPS_EXACTLY[codec.name])

    def seconds(self, time_base: Fraction) -> NDArray[np.float64]:
        """Return when each frame is displayed, in seconds after the first frame: float64 [frames]."""
        ticks = self.times[np.frombuffer(self.order, np.int32)].astype(np.float64)
        return (ticks - ticks[0]) * float(time_base)

    def starts(self, frames: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the key packet where decoding must start, for each of these frames."""
        return np.frombuffer(self.start, np.int32)[np.frombuffer(self.order, np.int32)[frames]]

    def without(self, silent: Set[int]) -> Self:
        """Return a copy of the index without these packets, for which the decoder outputs no frame."""
        return replace(self, order=array("i", (at for at in self.order if at not in silent)))

    def runs(self, packets: Iterable[int]) -> list[range]:
        """Return the ranges of packets that must be decoded to get the frames of these packets.

        Overlapping ranges are merged.
        """
        runs: list[range] = []
        for start, at in sorted((self.start[at], at) for at in packets):
            if runs and start in runs[-1]:
                start, at = runs[-1].start, max(runs.pop()[-1], at)
            runs.append(range(start, at + 1))
        return runs


def _array(values: NDArray[np.int32]) -> array[int]:
    """Return numbers in four bytes each; a list would need ten times as much memory."""
    found = array("i")
    found.frombytes(np.ascontiguousarray(values, np.int32).data.cast("B"))
    return found


def maybe_empty_packets(heads: PacketTable, codec: av.VideoCodecContext) -> list[int]:
    """Return the packets for which the decoder may output no frame. Only MPEG-4 video has such packets.

    If a picture repeats the previous picture, it may be marked as not coded. Its packet then has only a dozen
    bytes. A coded picture has at least one bit for each macroblock. So all packets below that size are
    returned.
    """
    if codec.name != "mpeg4":
        return []
    # The size limit in bytes is at least 32, well above the dozen bytes of a picture that is not coded.
    enough = max(-(-codec.width // 16) * -(-codec.height // 16) / 8, 32)
    return np.flatnonzero(heads.size < enough).tolist()

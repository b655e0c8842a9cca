"""What packets tell about frames without decoding.

Sorted by time they give the order of display, also for variable frame rates. A wanted frame then costs its
group of pictures from the key packet up to it. Packets are numbered as stored, frames as shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    import av

# Decoders whose packet always holds one picture → whether leaving out those marked as unreferenced is exact:
# in HEVC a higher temporal layer may still refer to them, and the other decoders leave out nothing.
SKIPS_EXACTLY = {"h264": True, "mpeg4": True, "hevc": False, "vp9": False, "libdav1d": False, "mjpeg": False}
# Containers that store when a frame is shown; in others that is a guess as soon as pictures are reordered.
STORES_TIMES = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flv")


class Head(NamedTuple):
    """A packet without its data."""

    time: int | None  # when its picture is shown
    decoded: int | None  # when it is decoded
    size: int  # in bytes
    key: bool
    discard: bool  # by the file's edit list it is not shown


@dataclass(frozen=True)
class Index:
    """Which packets to decode for which frames."""

    times: list[int]  # packet → its time, which its frame keeps through the decoder
    order: list[int]  # frame → packet
    start: list[int]  # packet → the key packet from which decoding reaches it
    skips: bool  # whether the decoder may leave out what is unreferenced

    @classmethod
    def of(cls, heads: Sequence[Head], codec: av.VideoCodecContext, *, container: str) -> Self | None:
        """None where the packets do not say for certain which frames there are, and in which order."""
        times = [head.time for head in heads if head.time is not None]
        shown = [at for at, head in enumerate(heads) if not head.discard]
        if codec.name not in SKIPS_EXACTLY or codec.field_order > 1 or not shown or len(times) < len(heads):
            return None  # field_order: an interlaced frame may be split over two packets
        if not heads[0].key or min(times) < times[0]:
            return None  # the first frames refer to what was cut off before them
        as_stored = not codec.has_b_frames and times == [head.decoded for head in heads]
        if not (as_stored or container in STORES_TIMES) or len({times[at] for at in shown}) < len(shown):
            return None
        start, before, key = [], 0, 0
        for at, head in enumerate(heads):
            before, key = (key, at) if head.key else (before, key)
            # What is shown before its key picture may refer to the group before.
            start.append(before if times[at] < times[key] else key)
        return cls(times, sorted(shown, key=times.__getitem__), start, SKIPS_EXACTLY[codec.name])

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


def doubtful(heads: Sequence[Head], codec: av.VideoCodecContext) -> list[int]:
    """Packets that may show nothing.

    An MPEG-4 picture spends at least a bit a macroblock, or is marked as not coded, as encoders do with one
    that repeats the last; that takes a dozen bytes.
    """
    if codec.name != "mpeg4":
        return []
    enough = max(-(-codec.width // 16) * -(-codec.height // 16) / 8, 32)  # bytes
    return [at for at, head in enumerate(heads) if head.size < enough]

"""The packets of an AVI file by its own index, without demuxing all of them.

    … LIST 'movi' [ '00dc' size data | '01wb' size data | … ] 'idx1' size index

An index says where packets are, but not that nothing else is there, or that nothing is broken. So all chunks
are walked through, header by header, from the first to the end of the file: what the index lists must be the
chunks of the stream, one for one. Then these are the packets that FFmpeg's demuxer gives.
Only MPEG-4 video, most of what AVI files hold in this field, whose pictures tell their type up front.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import TYPE_CHECKING, cast, overload

from tanet.video.index import Head

if TYPE_CHECKING:
    import av

HEADER = 8  # bytes: four letters and the size
PICTURE = b"\x00\x00\x01\xb6"  # MPEG-4's code for the start of a picture; two bits with its type follow
BIDIRECTIONAL = 2
SEARCHED = 512  # bytes at the start of a packet in which its picture has to start
OTHERS = (b"idx1", b"JUNK")


class AviPackets(Sequence["av.Packet"]):
    """Each packet is made when it is asked for."""

    def __init__(self, data: bytes, places: list[tuple[int, int]], heads: list[Head]) -> None:
        self._data, self._places, self.heads = memoryview(data), places, heads

    @classmethod
    def of(cls, data: bytes, stream: av.VideoStream) -> AviPackets | None:
        """None where the index and the chunks differ, or pictures are reordered."""
        codec = stream.codec_context
        if codec.name != "mpeg4" or codec.has_b_frames or not len(stream.index_entries):
            return None
        entries = [(e.pos, e.size, e.timestamp, e.is_keyframe) for e in stream.index_entries]
        places = [(pos, size) for pos, size, _, _ in entries]
        first = data.rfind(b"movi", 0, places[0][0]) + 4
        if first < 4 or places != _chunks(data, first, f"{stream.index:02}".encode()):
            return None
        heads = []
        for number, (pos, size, time, key) in enumerate(entries):
            begin = data.find(PICTURE, pos + HEADER, pos + HEADER + min(size, SEARCHED)) + len(PICTURE)
            if begin < len(PICTURE) or data[begin] >> 6 == BIDIRECTIONAL or time != number:
                return None
            heads.append(Head(time, time, size, key, False))
        return cls(data, places, heads)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, at: int) -> av.Packet: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[av.Packet]: ...
    def __getitem__(self, at: int | slice) -> av.Packet | Sequence[av.Packet]:
        import av

        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(len(self)))]
        pos, size = self._places[at]
        packet = av.Packet(size)  # of FFmpeg's own memory, since decoders read on into zeros behind the data
        packet.update(cast("bytes", self._data[pos + HEADER : pos + HEADER + size]))
        packet.pts = packet.dts = self.heads[at].time
        packet.is_keyframe = self.heads[at].key
        return packet


def _chunks(data: bytes, at: int, stream: bytes) -> list[tuple[int, int]] | None:
    """Place and size of the stream's chunks; None unless these, sound and the index fill the file."""
    chunks, pictures, read_header = [], (stream + b"dc", stream + b"db"), Struct("<4sI").unpack_from
    while at + HEADER <= len(data):
        name, size = read_header(data, at)
        if name in pictures:
            chunks.append((at, size))
        elif name not in OTHERS and not (name[:2].isdigit() and name[2:] == b"wb"):
            return None
        at += HEADER + size + size % 2
    return chunks if at in (len(data), len(data) + 1) else None

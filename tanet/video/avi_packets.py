"""The packets of an AVI file by its own index, without demuxing all of them.

    … LIST size 'movi' [ '00dc' size data | '01wb' size data | … ] 'idx1' size [ name flags place size | … ]

An index says where packets are, but not that nothing else is there, or that nothing is broken. So it counts
only if its chunks, one right behind the other, fill the list, each header says what the index says, and
FFmpeg has understood it so too. Then these are the packets that FFmpeg's demuxer gives.
Only MPEG-4 video, most of what AVI files hold in this field, whose pictures tell their type up front.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast, overload

import numpy as np
from numpy.typing import NDArray

from tanet.video.packet_index import PacketTable

if TYPE_CHECKING:
    import av

HEADER = 8  # bytes: four letters and the size
ENTRY = np.dtype([("name", "<u4"), ("flags", "<u4"), ("place", "<u4"), ("size", "<u4")])  # of the index
KEY = 0x10  # among the flags
PICTURE = b"\x00\x00\x01\xb6"  # MPEG-4's code for the start of a picture; two bits with its type follow
BIDIRECTIONAL = 2
SEARCHED = 512  # bytes at the start of a packet in which its picture has to start


class AviPackets(Sequence["av.Packet"]):
    """Each packet is made when it is asked for."""

    def __init__(self, data: bytes, places: NDArray[np.int64], heads: PacketTable) -> None:
        self._data, self.heads = memoryview(data), heads
        self._places, self._sizes, self._keys = places.tolist(), heads.size.tolist(), heads.key.tolist()

    @classmethod
    def of(cls, data: bytes, stream: av.VideoStream) -> AviPackets | None:
        """None where the index and the chunks differ, or pictures are reordered."""
        codec, entries = stream.codec_context, stream.index_entries
        if codec.name != "mpeg4" or codec.has_b_frames or not len(entries):
            return None
        listed = _listed(data, data.rfind(b"movi", 0, entries[0].pos) + len(b"movi"))
        if listed is None or (video := _pictures(listed, stream.index)) is None:
            return None
        last = len(video.places) - 1
        # By FFmpeg's count of time a picture that it leaves out is a step all the same.
        if len(entries) - 1 != last or entries[last].timestamp != last or _reordered(data, video):
            return None
        keys = np.flatnonzero(video.keys)
        for at, place in zip(keys.tolist(), video.places[keys].tolist(), strict=True):
            if (entry := entries[at]).pos != place or not entry.is_keyframe:
                return None
        times = np.arange(last + 1)
        return cls(
            data, video.places, PacketTable(times, times, video.sizes, video.keys, np.zeros(last + 1, bool))
        )

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
        begin, size = self._places[at] + HEADER, self._sizes[at]
        packet = av.Packet(size)  # of FFmpeg's own memory, since decoders read on into zeros behind the data
        packet.update(cast("bytes", self._data[begin : begin + size]))
        packet.pts = packet.dts = at
        packet.is_keyframe = self._keys[at]
        return packet


class Chunks(NamedTuple):
    """Chunks of the list in columns."""

    names: NDArray[np.uint32]  # four letters, read as a number
    places: NDArray[np.int64]  # of the headers in the file
    sizes: NDArray[np.int64]  # of the data, in bytes
    keys: NDArray[np.bool_]


def _number(letters: bytes) -> int:
    return int.from_bytes(letters, "little")


def _words(data: bytes) -> NDArray[np.int64]:
    """The eight bytes from each byte on, as a number."""
    return np.ndarray(len(data) - 7, "<i8", data, strides=(1,))


def _listed(data: bytes, first: int) -> Chunks | None:
    """All chunks from `first` on; None unless these, sound, and the index fill the file, and agree."""
    end = first - 4 + _number(data[first - 8 : first - 4])
    table = end + HEADER
    if first < 12 or data[end : end + 4] != b"idx1" or (len(data) - table) % ENTRY.itemsize:
        return None
    index = np.frombuffer(data, ENTRY, offset=table)
    if not len(index) or _number(data[end + 4 : table]) != index.nbytes:
        return None
    names, sizes, stored = index["name"], index["size"].astype(np.int64), index["place"]
    steps = HEADER + sizes + sizes % 2
    places = first + np.cumsum(steps) - steps
    if places[-1] + steps[-1] != end or (stored - stored[0] != places - first).any():
        return None
    if (_words(data)[places] != names + (sizes << 32)).any():  # a header is a name and a size
        return None
    return Chunks(names, places, sizes, index["flags"] & KEY != 0)


def _pictures(chunks: Chunks, stream: int) -> Chunks | None:
    """Those of the stream; None if there is anything else than these and sound."""
    names, places, sizes, keys = chunks
    pictures = (names == _number(b"%02ddc" % stream)) | (names == _number(b"%02ddb" % stream))
    if pictures.all():
        return chunks
    others = [name.to_bytes(4, "little") for name in set(names[~pictures].tolist())]
    sound = all(name[:2].isdigit() and name[2:] == b"wb" for name in others)
    return Chunks(names[pictures], places[pictures], sizes[pictures], keys[pictures]) if sound else None


def _reordered(data: bytes, video: Chunks) -> bool:
    """Whether there may be pictures that are shown before one that comes earlier."""
    words = _words(data)[video.places + HEADER]
    plain = (words & 0xFFFFFFFF == _number(PICTURE)) & (video.sizes > len(PICTURE))
    if (plain & (words >> 38 & 3 == BIDIRECTIONAL)).any():
        return True
    start = PICTURE  # with the headers before it: most that have some have the same
    for place, size in zip(video.places[~plain].tolist(), video.sizes[~plain].tolist(), strict=True):
        begin = place + HEADER
        if not data.startswith(start, begin):
            end = data.find(PICTURE, begin, begin + min(size, SEARCHED)) + len(PICTURE)
            start = data[begin:end]
        if not len(PICTURE) <= len(start) < size or data[begin + len(start)] >> 6 == BIDIRECTIONAL:
            return True
    return False

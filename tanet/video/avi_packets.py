"""Packets of an AVI file, located by the file's own index, without demuxing all of them.

    … LIST size 'movi' [ '00dc' size data | '01wb' size data | … ] 'idx1' size [ name flags place size | … ]

The index locates the packets, but may be incomplete, and the file may be damaged. So the index is used only
if its chunks are contiguous and fill the list, each chunk header agrees with the index, and the entries that
FFmpeg has read from the index agree too. Then the packets equal those of FFmpeg's demuxer.
Only MPEG-4 video is supported: this codec is the most common in AVI files in this field, and its pictures
begin with their type.
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
ENTRY = np.dtype([("name", "<u4"), ("flags", "<u4"), ("place", "<u4"), ("size", "<u4")])  # index entry
KEY = 0x10  # the key frame flag
PICTURE = b"\x00\x00\x01\xb6"  # MPEG-4's start code of a picture; the two bits after it are its type
BIDIRECTIONAL = 2
SEARCHED = 512  # a packet must contain the start code of its picture within its first 512 bytes


class AviPackets(Sequence["av.Packet"]):
    """The video packets of an AVI file; each is created when it is requested."""

    def __init__(self, data: bytes, places: NDArray[np.int64], heads: PacketTable) -> None:
        self._data, self.heads = memoryview(data), heads
        self._places, self._sizes, self._keys = places.tolist(), heads.size.tolist(), heads.key.tolist()

    @classmethod
    def of(cls, data: bytes, stream: av.VideoStream) -> AviPackets | None:
        """Locate the packets; None if the index and the chunks differ, or if pictures may be reordered."""
        codec, entries = stream.codec_context, stream.index_entries
        if codec.name != "mpeg4" or codec.has_b_frames or not len(entries):
            return None
        listed = _listed(data, data.rfind(b"movi", 0, entries[0].pos) + len(b"movi"))
        if listed is None or (video := _pictures(listed, stream.index)) is None:
            return None
        last = len(video.places) - 1
        # FFmpeg counts skipped pictures in its timestamps: then the last timestamp exceeds the last place.
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
        packet = av.Packet(size)  # in FFmpeg's own memory: decoders read past the data, into its zero padding
        packet.update(cast("bytes", self._data[begin : begin + size]))
        packet.pts = packet.dts = at
        packet.is_keyframe = self._keys[at]
        return packet


class Chunks(NamedTuple):
    """Chunks of the list, as columns."""

    names: NDArray[np.uint32]  # four letters, as a little-endian number
    places: NDArray[np.int64]  # offsets of the headers in the file, in bytes
    sizes: NDArray[np.int64]  # sizes of the data, in bytes
    keys: NDArray[np.bool_]


def _number(letters: bytes) -> int:
    return int.from_bytes(letters, "little")


def _words(data: bytes) -> NDArray[np.int64]:
    """Return for each offset the eight bytes that start there, as a little-endian number."""
    return np.ndarray(len(data) - 7, "<i8", data, strides=(1,))


def _listed(data: bytes, first: int) -> Chunks | None:
    """Return all chunks from `first` on; None unless they agree with the index and both fill the file."""
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
    if (_words(data)[places] != names + (sizes << 32)).any():  # a header is name, size
        return None
    return Chunks(names, places, sizes, index["flags"] & KEY != 0)


def _pictures(chunks: Chunks, stream: int) -> Chunks | None:
    """Return the video chunks of the stream; None if any other chunk is not audio."""
    names, places, sizes, keys = chunks
    pictures = (names == _number(b"%02ddc" % stream)) | (names == _number(b"%02ddb" % stream))
    if pictures.all():
        return chunks
    others = [name.to_bytes(4, "little") for name in set(names[~pictures].tolist())]
    sound = all(name[:2].isdigit() and name[2:] == b"wb" for name in others)
    return Chunks(names[pictures], places[pictures], sizes[pictures], keys[pictures]) if sound else None


def _reordered(data: bytes, video: Chunks) -> bool:
    """Return whether a picture may be displayed before another picture that is stored earlier."""
    words = _words(data)[video.places + HEADER]
    plain = (words & 0xFFFFFFFF == _number(PICTURE)) & (video.sizes > len(PICTURE))
    if (plain & (words >> 38 & 3 == BIDIRECTIONAL)).any():
        return True
    start = PICTURE  # plus the headers before it: most packets that have headers share the same ones
    for place, size in zip(video.places[~plain].tolist(), video.sizes[~plain].tolist(), strict=True):
        begin = place + HEADER
        if not data.startswith(start, begin):
            end = data.find(PICTURE, begin, begin + min(size, SEARCHED)) + len(PICTURE)
            start = data[begin:end]
        if not len(PICTURE) <= len(start) < size or data[begin + len(start)] >> 6 == BIDIRECTIONAL:
            return True
    return False

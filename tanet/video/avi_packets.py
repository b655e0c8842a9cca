"""Packets of an AVI file, found in the file's own index, without demuxing the whole file.

    … LIST size 'movi' [ '00dc' size data | '01wb' size data | … ] 'idx1' size [ name flags place size | … ]

The list `movi` contains chunks; each chunk is one packet of video or audio. The index `idx1` gives the place
of each chunk, but it may be incomplete, and the file may be damaged. So the index is used only if

- the chunks in the index fill the list without gaps,
- the header of each chunk agrees with the index, and
- the index entries that FFmpeg has read agree with the index.

Then the packets equal those of FFmpeg's demuxer. Only MPEG-4 video is supported. It is the most common codec
of AVI files in action recognition, and each of its pictures begins with the type of the picture.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from tanet.video.packet_index import Packets, PacketTable
from tanet.video.picture_types import BIDIRECTIONAL, SEARCHED
from tanet.video.picture_types import MPEG4_PICTURE as PICTURE

if TYPE_CHECKING:
    import av

Content = bytes | mmap.mmap
HEADER = 8  # bytes of a chunk's header: a name of four letters, and the size
ENTRY = np.dtype([("name", "<u4"), ("flags", "<u4"), ("place", "<u4"), ("size", "<u4")])  # index entry
KEY = 0x10  # the key frame flag


class AviPackets(Packets):
    """The video packets of an AVI file. A packet is created when it is requested."""

    def __init__(self, data: Content, places: NDArray[np.int64], heads: PacketTable) -> None:
        self._data, self.heads = memoryview(data), heads
        self._places, self._sizes, self._keys = places.tolist(), heads.size.tolist(), heads.key.tolist()

    @classmethod
    def of(cls, data: Content, stream: av.VideoStream) -> AviPackets | None:
        """Find the packets. Return None if index and chunks differ, or if pictures may be reordered."""
        codec, entries = stream.codec_context, stream.index_entries
        if codec.name != "mpeg4" or codec.has_b_frames or not len(entries):
            return None
        listed = _listed(data, data.rfind(b"movi", 0, entries[0].pos) + len(b"movi"))
        if listed is None or (video := _pictures(listed, stream.index)) is None:
            return None
        last = len(video.places) - 1
        # If FFmpeg's timestamps count skipped pictures, the last timestamp is larger than `last`.
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

    def _packet(self, at: int) -> av.Packet:
        import av

        begin, size = self._places[at] + HEADER, self._sizes[at]
        # Copy the data to FFmpeg's own memory, which ends in zeros, because decoders read past the data.
        packet = av.Packet(size)
        packet.update(cast("bytes", self._data[begin : begin + size]))
        packet.pts = packet.dts = at
        packet.is_keyframe = self._keys[at]
        return packet


class Chunks(NamedTuple):
    """Table of the chunks in a file, as one array for each property."""

    names: NDArray[np.uint32]  # name of each chunk: four letters, as a little-endian number
    places: NDArray[np.int64]  # offset of each chunk's header in the file, in bytes
    sizes: NDArray[np.int64]  # size of each chunk's data, in bytes
    keys: NDArray[np.bool_]


def _number(letters: bytes) -> int:
    return int.from_bytes(letters, "little")


def _words(data: Content) -> NDArray[np.int64]:
    """Return an array whose element i is the little-endian number in the eight bytes from offset i."""
    return np.ndarray(len(data) - 7, "<i8", data, strides=(1,))


def _listed(data: Content, first: int) -> Chunks | None:
    """Return the chunks from offset `first` on. Return None if they differ from the index, or leave gaps."""
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
    """Return the chunks of the video stream. Return None if any other chunk is not audio."""
    names, places, sizes, keys = chunks
    pictures = (names == _number(b"%02ddc" % stream)) | (names == _number(b"%02ddb" % stream))
    if pictures.all():
        return chunks
    others = [name.to_bytes(4, "little") for name in set(names[~pictures].tolist())]
    sound = all(name[:2].isdigit() and name[2:] == b"wb" for name in others)
    return Chunks(names[pictures], places[pictures], sizes[pictures], keys[pictures]) if sound else None


def _reordered(data: Content, video: Chunks) -> bool:
    """Return whether any picture may be displayed before a picture that is stored earlier in the file."""
    words = _words(data)[video.places + HEADER]
    plain = (words & 0xFFFFFFFF == _number(PICTURE)) & (video.sizes > len(PICTURE))
    if (plain & (words >> 38 & 3 == BIDIRECTIONAL)).any():
        return True
    # `start` is the beginning of a packet up to the picture's type. Most packets begin with the same bytes.
    start = PICTURE
    for place, size in zip(video.places[~plain].tolist(), video.sizes[~plain].tolist(), strict=True):
        begin = place + HEADER
        if data[begin : begin + len(start)] != start:
            end = data.find(PICTURE, begin, begin + min(size, SEARCHED)) + len(PICTURE)
            start = data[begin:end]
        if not len(PICTURE) <= len(start) < size or data[begin + len(start)] >> 6 == BIDIRECTIONAL:
            return True
    return False

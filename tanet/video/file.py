"""A video file: its packets, a decoder, and, where the packets tell it, their index.

The packets are read once, without decoding, and stay in memory, compressed, until the video is closed:
nothing seeks. A wanted frame costs its group of pictures from the key packet up to it, and there pictures
that no other refers to are left out; the result equals sequential decoding bit for bit. A file whose packets
do not tell its frames, or promise frames that it does not have, is decoded from its start.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING

from tanet.video.avi import AviPackets
from tanet.video.base import DamagedVideo, Video, VideoError, VideoInfo, named
from tanet.video.index import Head, Index, doubtful
from tanet.video.picture import upright_size

if TYPE_CHECKING:
    import av


class VideoFile(Video):
    """The first video stream of a file, or of its bytes; cover pictures do not count."""

    def __init__(self, source: Path | bytes, *, name: Path) -> None:
        import av

        self.path = name
        place = BytesIO(source) if isinstance(source, bytes) else f"file:{source}"  # or a colon is a protocol
        with named(name):
            self._container = av.open(place, mode="r")
        videos = [s for s in self._container.streams.video if not s.disposition & s.disposition.attached_pic]
        if not videos or videos[0].codec_context is None:
            raise VideoError(name, "no video stream that can be decoded" if videos else "no video stream")
        stream, self._codec = videos[0], videos[0].codec_context
        self._codec.thread_count = 1  # decoding runs in the workers of a loader: they are the threads
        self._packets: Sequence[av.Packet]
        self._packets, heads = self._read_packets(source, stream)
        self._index = Index.of(heads, self._codec, container=self._container.format.name)
        if self._index and (doubts := doubtful(heads, self._codec)):
            silent = self._silent(doubts, self._index)
            self._index = None if silent is None else self._index.without(silent)
        self.fps = float(stream.average_rate) if stream.average_rate else None
        # Where the packets do not tell the frames, all are counted.
        self.frames = len(self._index.order) if self._index else self._count()
        if not self.frames:
            raise VideoError(name, "no frames")

    def verify(self) -> VideoInfo:
        if (frames := self._count()) != self.frames:
            self.frames, self._index = frames, None  # it tells of frames that are not there
        if not frames:
            raise VideoError(self.path, "no frames")
        return self.info

    def _count(self) -> int:
        """Frames that decode; their size is known by then."""
        frames = 0
        for number, frame in self._from_start():
            frames, self._size = number + 1, self._size or upright_size(frame)
        return frames

    def close(self) -> None:
        self._packets = []
        self._container.close()

    def _read_packets(
        self, source: Path | bytes, stream: av.VideoStream
    ) -> tuple[Sequence[av.Packet], list[Head]]:
        """All packets of the stream; a file cut short is as long as what is left of it."""
        if self._container.format.name == "avi":
            with named(self.path):
                data = source if isinstance(source, bytes) else source.read_bytes()
            if indexed := AviPackets.of(data, stream):
                return indexed, indexed.heads
        packets: list[av.Packet] = []
        with suppress(VideoError), named(self.path):
            self._demux(stream, packets)
        return packets, [Head(p.pts, p.dts, p.size, p.is_keyframe, p.is_discard) for p in packets]

    def _demux(self, stream: av.VideoStream, packets: list[av.Packet]) -> None:
        """What is left of the container's packets of the stream, added to the list."""
        while True:
            try:
                packets.extend(packet for packet in self._container.demux(stream) if packet.size)
                return
            except IndexError:  # PyAV, at a packet of a stream that begins later than the header says
                continue

    def _silent(self, doubts: Sequence[int], index: Index) -> set[int] | None:
        """Those of the packets for which the decoder shows nothing; None where that is not to be told."""
        silent: set[int] = set()
        self._codec.skip_frame = "DEFAULT"
        with suppress(VideoError), named(self.path):
            for start, packets in groupby(doubts, key=index.start.__getitem__):
                self._codec.flush_buffers()
                if len(self._codec.decode(self._packets[start])) != 1:
                    return None  # it holds pictures back
                silent.update(at for at in packets if not self._codec.decode(self._packets[at]))
            if not silent & {0, len(self._packets) - 1}:  # at the end the decoder repeats the last picture
                return silent
        return None

    def _decode(self, numbers: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame, Path]]:
        missing = set(numbers)
        if not missing:
            return
        for number, frame in chain(self._from_groups(numbers), self._from_start()):
            if number in missing:
                missing.remove(number)
                yield number, frame, self.path
            if not missing:
                return
        promised, real = self.frames, self.verify().frames
        raise DamagedVideo(self.path, f"only {real} of {promised} frames decode", real)

    def _from_groups(self, numbers: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames of these numbers, each decoded from the key picture of its group."""
        if (index := self._index) is None or not numbers:
            return
        frames = {index.order[number]: number for number in numbers}  # packet → frame
        for packets in index.runs(frames):
            wanted = {index.times[at]: frames[at] for at in packets if at in frames}
            # Key flags lie: until the key picture has proved to be one, nothing counts that comes out.
            entered = packets[0] == 0 or self._packets[packets[0]].is_discard
            for frame in self._frames(packets, asked=frames if index.skips else packets):
                entered = entered or (frame.pts == index.times[packets[0]] and frame.key_frame)
                if entered and frame.pts in wanted:
                    yield wanted[frame.pts], frame
        self._index = None  # whoever asks on has missed a frame

    def _from_start(self) -> Iterator[tuple[int, av.VideoFrame]]:
        return enumerate(self._frames(every := range(len(self._packets)), asked=every))

    def _frames(self, packets: range, *, asked: Container[int]) -> Iterator[av.VideoFrame]:
        """Frames of these packets, up to the first damage; what is not asked for may be left out."""
        self._codec.flush_buffers()
        with suppress(VideoError), named(self.path):
            for at in packets:
                self._codec.skip_frame = "DEFAULT" if at in asked else "NONREF"
                yield from self._codec.decode(self._packets[at])
            yield from self._codec.decode(None)

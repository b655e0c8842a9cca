"""Video made of a file: its packets, a decoder and, if the packets determine the frames, an index.

The packets are read once, without decoding, and stay in memory, compressed, until the video is closed; there
is no seeking. To read a frame, its group of pictures is decoded from the key packet up to the frame, skipping
pictures that no other picture refers to. The result equals sequential decoding bit for bit. If the packets do
not determine the frames, or promise frames that the file does not have, the file is decoded from its start.

When FFmpeg opens a file, it probes it: it decodes the first pictures to find properties that the headers of
some containers state too. Probing costs milliseconds. It is skipped where the container's header is enough,
and done later if something is missing.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING

from tanet.video.avi_packets import AviPackets
from tanet.video.base import DamagedVideo, Video, VideoError, VideoInfo, translate_errors
from tanet.video.frame_to_rgb import upright_size
from tanet.video.packet_index import STORES_TIMES, PacketIndex, PacketTable, maybe_empty_packets

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

# Options that prevent probing: no decoder runs, and nothing after the first packet is read.
UNPROBED = {"codec_whitelist": "none", "probesize": "32"}


class VideoFile(Video):
    """The first video stream of a file, or of a file's bytes; cover pictures are ignored."""

    _container: InputContainer | None = None
    _codec: av.VideoCodecContext
    _packets: Sequence[av.Packet] = ()
    _index: PacketIndex | None = None

    def __init__(self, source: Path | bytes, *, name: Path) -> None:
        self.path, self._source = name, source
        with translate_errors(name):
            self._kind = _container_of(source)
        self._probed = self._kind not in STORES_TIMES
        if not self._probed:
            with suppress(VideoError):
                self._open()
            self._probed = self._index is None
        if self._probed:
            self._open()
        # If the packets do not determine the frames, decode all of them to count them.
        self.frames = len(self._index.order) if self._index else self._count()
        if not self.frames:
            raise VideoError(name, "no frames")

    def _open(self) -> None:
        """Read the packets and set the index; it stays None if the packets or headers do not suffice."""
        stream = self._open_stream()
        self._packets, heads = self._read_packets(stream)
        self.fps = float(stream.average_rate) if stream.average_rate else None
        index = PacketIndex.of(heads, self._codec, container=self._kind or stream.container.format.name)
        if index and not self._probed and not self._told(index):
            return
        if index and (doubts := maybe_empty_packets(heads, self._codec)):
            silent = self._silent(doubts, index)
            index = None if silent is None else index.without(silent)
        self._index = index

    def _open_stream(self) -> av.VideoStream:
        import av

        self._close_container()
        # Without the prefix, FFmpeg would take a name with a colon for a protocol.
        place = BytesIO(self._source) if isinstance(self._source, bytes) else f"file:{self._source}"
        kind, options = self._kind and self._kind.split(",")[0], {} if self._probed else UNPROBED
        with translate_errors(self.path):
            self._container = av.open(place, mode="r", format=kind, container_options=options)
        videos = [s for s in self._container.streams.video if not s.disposition & s.disposition.attached_pic]
        if not videos or videos[0].codec_context is None:
            cause = "no video stream that can be decoded" if videos else "no video stream"
            raise VideoError(self.path, cause)
        self._codec = videos[0].codec_context
        self._codec.thread_count = 1  # the loader's workers already decode in parallel
        return videos[0]

    def _told(self, index: PacketIndex) -> bool:
        """Check that the headers state the frame rate, and a reorder depth that covers the index's delay."""
        with translate_errors(self.path):
            self._codec.open(strict=False)
        return self.fps is not None and index.delay <= self._codec.reorder_depth

    def verify(self) -> VideoInfo:
        """Decode everything; see `Video.verify`."""
        if (frames := self._count()) != self.frames:
            self.frames, self._index = frames, None  # the index has frames that do not exist
        if not frames:
            raise VideoError(self.path, "no frames")
        return self.info

    def _count(self) -> int:
        """Count the frames that decode; this also sets their size."""
        frames = 0
        for number, frame in self._from_start():
            frames, self._size = number + 1, self._size or upright_size(frame)
        return frames

    def close(self) -> None:
        """Free the packets and close the container."""
        self._packets = []
        self._close_container()

    def _close_container(self) -> None:
        """Close the container now: otherwise it lives, and uses memory, until Python collects cycles."""
        if self._container is not None:
            self._container.close()

    def _read_packets(self, stream: av.VideoStream) -> tuple[Sequence[av.Packet], PacketTable]:
        """Read all packets of the stream, or those that a truncated file still has."""
        if self._kind == "avi":
            with translate_errors(self.path):
                data = _bytes_of(self._source)
            if indexed := AviPackets.of(data, stream):
                return indexed, indexed.heads
        packets: list[av.Packet] = []
        with suppress(VideoError), translate_errors(self.path):
            self._demux(stream, packets)
        return packets, PacketTable.of(packets)

    def _demux(self, stream: av.VideoStream, packets: list[av.Packet]) -> None:
        """Append the stream's remaining packets in the container to the list."""
        assert self._container is not None
        while True:
            try:
                packets.extend(packet for packet in self._container.demux(stream) if packet.size)
                return
            except IndexError:  # from PyAV, at a packet of a stream that appears only after the header
                continue

    def _silent(self, doubts: Sequence[int], index: PacketIndex) -> set[int] | None:
        """Return the packets in `doubts` for which the decoder outputs no frame; None if uncertain."""
        silent: set[int] = set()
        self._codec.skip_frame = "DEFAULT"
        with suppress(VideoError), translate_errors(self.path):
            for start, packets in groupby(doubts, key=index.start.__getitem__):
                self._codec.flush_buffers()
                if len(self._codec.decode(self._packets[start])) != 1:
                    return None  # the decoder delays pictures
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
        """Yield the frames of these numbers, each decoded from the key picture of its group."""
        if (index := self._index) is None or not numbers:
            return
        frames = {index.order[number]: number for number in numbers}  # packet → frame
        for packets in index.runs(frames):
            wanted = {index.times[at]: frames[at] for at in packets if at in frames}
            # Key flags can be wrong: ignore all output until the key picture has proved to be one.
            entered = packets[0] == 0 or self._packets[packets[0]].is_discard
            for frame in self._frames(packets, asked=frames if index.skips else packets):
                entered = entered or (frame.pts == index.times[packets[0]] and frame.key_frame)
                if entered and frame.pts in wanted:
                    yield wanted.pop(frame.pts), frame
                if not wanted:
                    break
        self._index = None  # reaching this line means a wanted frame did not come: stop trusting the index

    def _from_start(self) -> Iterator[tuple[int, av.VideoFrame]]:
        if not self._probed:  # so that frames around damage decode as in a file opened with probing
            self._probed = True
            self._open_stream()
        yield from enumerate(self._frames(every := range(len(self._packets)), asked=every))

    def _frames(self, packets: range, *, asked: Container[int]) -> Iterator[av.VideoFrame]:
        """Decode these packets up to the first damage. Frames of packets not in `asked` may be skipped."""
        self._codec.flush_buffers()
        with suppress(VideoError), translate_errors(self.path):
            for at in packets:
                self._codec.skip_frame = "DEFAULT" if at in asked else "NONREF"
                yield from self._codec.decode(self._packets[at])
            yield from self._codec.decode(None)


def _container_of(source: Path | bytes) -> str | None:
    """Return FFmpeg's name of the container, from the first bytes; None lets FFmpeg detect it."""
    head = _bytes_of(source, first=12)
    if head[:4] == b"RIFF" and head[8:] == b"AVI ":
        return "avi"
    if head[4:8] == b"ftyp":
        return "mov,mp4,m4a,3gp,3g2,mj2"
    return "matroska,webm" if head[:4] == b"\x1aE\xdf\xa3" else None


def _bytes_of(source: Path | bytes, *, first: int | None = None) -> bytes:
    """Read all of a file, or its first bytes."""
    if isinstance(source, bytes):
        return source[:first]
    with source.open("rb", buffering=0) as file:
        return file.read(-1 if first is None else first)

"""Video read from a file, with an index of the frames if the packets determine the frames.

All packets are read once, without decoding. They stay in memory, compressed, until the video is closed. Only
the packets of large files are read from the file again (packet_store.py).

To read a frame, the packets of its group of pictures are decoded, from the key packet up to the frame.
Pictures that no other picture refers to are skipped. The frames equal those of sequential decoding bit for
bit. The file is decoded from its start if the packets do not determine the frames, or if the packets promise
frames that the file does not have.

FFmpeg usually probes a file when it opens the file: it decodes the first pictures to find properties of the
video. Probing costs milliseconds. Some containers state the same properties in their headers. For these
containers, probing is skipped at first, and done later if a property is missing.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tanet.video.avi_packets import AviPackets
from tanet.video.base import DamagedVideo, Video, VideoError, VideoInfo, translate_errors
from tanet.video.container import container_of, content_of
from tanet.video.frame_to_rgb import upright_size
from tanet.video.packet_index import (
    STORES_TIMES,
    UNKNOWN,
    PacketIndex,
    Packets,
    PacketTable,
    maybe_empty_packets,
)
from tanet.video.packet_store import KEPT, PacketStore
from tanet.video.picture_types import b_picture_test
from tanet.video.stream_choice import choose_stream

if TYPE_CHECKING:
    import av
    from av.container import InputContainer

# Options that prevent probing: FFmpeg runs no decoder, and reads nothing after the first packet.
UNPROBED = {"codec_whitelist": "none", "probesize": "32"}


PART = 1024  # number of frames that `iterate` looks up at once


class VideoFile(Video):
    """Video stream of a file, or of a file's bytes. `choose_stream` chooses from several video streams."""

    _container: InputContainer | None = None
    _codec: av.VideoCodecContext
    _stated: tuple[int, int] = (0, 0)
    """Width and height of the pictures, as stated by the file."""
    _packets = Packets()
    _index: PacketIndex | None = None
    _time_base: Fraction | None = None
    _doubted: PacketIndex | None = None
    """Index whose times may be wrong. It is used only after decoding has confirmed the times."""

    def __init__(self, source: Path | bytes, *, name: Path, kept: int = KEPT) -> None:
        self.path, self._source, self._kept = name, source, kept
        with translate_errors(name):
            self._kind = container_of(source)
        self._probed = self._kind not in STORES_TIMES
        if not self._probed:
            with suppress(VideoError):
                self._open()
            self._probed = self._index is None
        if self._probed:
            self._open()
        # Without an index, decode all packets to count the frames.
        self.frames = len(self._index.order) if self._index else self._count()
        if self._doubted and self._ascends and self.frames == len(self._doubted.order):
            self._index = self._doubted
        if not self.frames:
            raise VideoError(name, "no frames")

    def _open(self) -> None:
        """Read the packets and set the index. The index stays None if packets or headers do not suffice."""
        stream = self._open_stream()
        self._packets, heads = self._read_packets(stream)
        self.fps = float(stream.average_rate) if stream.average_rate else None
        self._time_base = stream.time_base
        index = PacketIndex.of(heads, self._codec, container=self._kind or stream.container.format.name)
        if index and not self._probed and not self._told(index):
            return
        if index and index.delay == 0 and self._may_reorder():
            self._doubted, index = index, None
        if index and (doubts := maybe_empty_packets(heads, self._codec)):
            silent = self._silent(doubts, index)
            index = None if silent is None else index.without(silent)
        self._index = index
        if isinstance(self._packets, PacketStore) and self._packets.reads_again:
            self._container = None  # it belongs to the store now
            self._packets.drop_decoding_times()

    def _open_stream(self) -> av.VideoStream:
        self._close_container()
        self._container = self._open_container()
        stream, several = choose_stream(self._container)
        # Only probing tells which of several video streams a player would choose.
        if several and not self._probed:
            self._probed = True
            return self._open_stream()
        if stream is None or stream.codec_context is None:
            cause = "no video stream that can be decoded" if stream else "no video stream"
            raise VideoError(self.path, cause)
        self._codec = stream.codec_context
        self._stated = self._codec.width, self._codec.height
        self._codec.thread_count = 1  # the loader's workers already decode in parallel
        return stream

    def _open_container(self) -> InputContainer:
        import av

        # Without the prefix "file:", FFmpeg would take the text before a colon in a name for a protocol.
        place = BytesIO(self._source) if isinstance(self._source, bytes) else f"file:{self._source}"
        kind, options = self._kind and self._kind.split(",")[0], {} if self._probed else UNPROBED
        with translate_errors(self.path):
            return av.open(place, mode="r", format=kind, container_options=options)

    def _told(self, index: PacketIndex) -> bool:
        """Return whether the headers state a frame rate and a reorder depth not below the index's delay."""
        with translate_errors(self.path):
            self._codec.open(strict=False)
        return self.fps is not None and index.delay <= self._codec.reorder_depth

    def _may_reorder(self) -> bool:
        """Return whether pictures may be displayed in another order than they are stored."""
        in_headers = self._codec.name == "hevc" and bool(self._codec.has_b_frames)
        return in_headers or self._packets.has_b_pictures

    def times(self) -> np.ndarray:
        """Return when each frame is displayed, in seconds after the first frame; see `Video.times`."""
        if self._index is None or self._time_base is None:
            return super().times()
        return self._index.seconds(self._time_base)[: self.frames]

    def _passes(self, numbers: np.ndarray) -> Iterator[np.ndarray]:
        """Split the numbers of frames before key packets, so that the tables of a part stay small."""
        if self._index is None:
            yield numbers
            return
        first = 0
        for border in np.flatnonzero(np.diff(self._index.starts(numbers)) > 0) + 1:
            if border - first >= PART:
                yield numbers[first:border]
                first = int(border)
        yield numbers[first:]

    def verify(self) -> VideoInfo:
        """Decode all frames; see `Video.verify`."""
        if (frames := self._count()) != self.frames or not self._ascends:
            # The index has frames that do not exist, or wrong times.
            self.frames, self._index = frames, None
        if not frames:
            raise VideoError(self.path, "no frames")
        return self.info

    def _count(self) -> int:
        """Decode and count all frames. Also set the frame size, and whether the frame times ascend."""
        frames, last = 0, None
        self._ascends = True
        for number, frame in self._from_start():
            frames, size = number + 1, upright_size(frame)
            self._size = self._size or size
            if size != self._size:
                self._note_size(size)
            self._ascends &= frame.pts is not None and (last is None or frame.pts > last)
            last = frame.pts
        return frames

    def close(self) -> None:
        """Free the packets and close the container."""
        self._packets.close()
        self._packets = (
            Packets()
        )  # a closed store would still refer to this object, which it opens files with
        self._close_container()

    def _close_container(self) -> None:
        """Close the container now. Otherwise, it uses memory until Python's garbage collector runs."""
        if self._container is not None:
            self._container.close()

    def _read_packets(self, stream: av.VideoStream) -> tuple[Packets, PacketTable]:
        """Read all packets of the stream. From a truncated file, read the packets that are left."""
        if self._kind == "avi":
            with translate_errors(self.path):
                data = content_of(self._source, kept=self._kept)
            if indexed := AviPackets.of(data, stream):
                return indexed, indexed.heads
        assert self._container is not None
        packets = PacketStore(
            self._container,
            stream=stream.index,
            open_again=self._open_container,
            is_b=b_picture_test(self._codec),
            path=self.path,
            kept=self._kept,
        )
        return packets, packets.table

    def _silent(self, doubts: Sequence[int], index: PacketIndex) -> set[int] | None:
        """Decode the packets in `doubts`, and return the packets for which the decoder outputs no frame.

        Return None if the result is uncertain.
        """
        silent: set[int] = set()
        self._codec.skip_frame = "DEFAULT"
        with suppress(VideoError), translate_errors(self.path):
            for start, packets in groupby(doubts, key=index.start.__getitem__):
                self._codec.flush_buffers()
                if len(self._codec.decode(self._packets[start])) != 1:
                    return None  # the decoder outputs frames late, so they cannot be matched to packets
                silent.update(at for at in packets if not self._codec.decode(self._packets[at]))
            # The first and the last packet are uncertain: at the end, the decoder repeats the last picture.
            if not silent & {0, len(self._packets) - 1}:
                return silent
        return None

    def _decode(self, numbers: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame, Path]]:
        for number, frame, path in self._wanted(numbers):
            if self._size is None and number and (frame.width, frame.height) != self._stated:
                # The picture size may have changed before this frame, so use the size of the first frame.
                _, first = next(self._from_start())
                self._size = upright_size(first)
                yield from self._wanted(numbers)
                return
            yield number, frame, path

    def _wanted(self, numbers: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame, Path]]:
        """Yield the frames with these numbers. If decoding by groups fails, decode from the start."""
        missing = set(numbers)
        if not missing:
            return
        for number, frame in self._from_groups(numbers):
            missing.remove(number)
            yield number, frame, self.path
        if not missing:
            return
        # The index is wrong: frames are missing, or their times do not ascend. Decode from the start.
        self._index, missing = None, set(numbers)
        for number, frame in self._from_start():
            if number in missing:
                missing.remove(number)
                yield number, frame, self.path
            if not missing:
                return
        promised, real = self.frames, self.verify().frames
        raise DamagedVideo(self.path, f"only {real} of {promised} frames decode", real)

    def _from_groups(self, numbers: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield the frames with these numbers. For each frame, the index gives the key packet to start from.

        If there is no index, or if the decoder contradicts the index, not all frames are yielded.
        """
        if (index := self._index) is None:
            return
        frames = {index.order[number]: number for number in numbers}  # packet → frame
        for packets in index.runs(frames):
            wanted = {index.times[at]: frames[at] for at in packets if at in frames}
            # Key flags can be wrong. Ignore all frames until the first picture has proved to be a key frame.
            entered = packets[0] == 0 or self._packets[packets[0]].is_discard
            last = UNKNOWN
            for frame in self._frames(packets, asked=frames if index.skips else packets):
                if entered and frame.pts is not None and frame.pts <= last:
                    return  # the times are wrong, because the decoder outputs frames in display order
                last = UNKNOWN if frame.pts is None else frame.pts
                entered = entered or (frame.pts == index.times[packets[0]] and frame.key_frame)
                if entered and frame.pts in wanted:
                    yield wanted.pop(frame.pts), frame
                if not wanted:
                    break
            else:
                return

    def _from_start(self) -> Iterator[tuple[int, av.VideoFrame]]:
        # Open the file with probing, because frames near damage can decode differently without probing.
        if not self._probed:
            self._probed = True
            self._open_stream()
        yield from enumerate(self._frames(every := range(len(self._packets)), asked=every))

    def _frames(self, packets: range, *, asked: Container[int]) -> Iterator[av.VideoFrame]:
        """Decode these packets until one is damaged. Frames of packets not in `asked` may be skipped."""
        self._codec.flush_buffers()
        with suppress(VideoError), translate_errors(self.path):
            for at in packets:
                self._codec.skip_frame = "DEFAULT" if at in asked else "NONREF"
                yield from self._codec.decode(self._packets[at])
            yield from self._codec.decode(None)

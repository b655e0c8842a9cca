"""Open a packed video in a shard by its offset, without reading other videos."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tanet.data.flow_video import StoredFlow
from tanet.data.shards.format import ShardEntry, padded_size
from tanet.video import Video, VideoError, VideoInfo, open_video

if TYPE_CHECKING:
    import av  # only for type checking; functions import av when they need it


def open_packed_video(packed: ShardEntry, *, name: str) -> Video:
    """Open a packed video.

    Args:
        packed: location of the video in its shard.
        name: name of the video. Error messages show the path of the shard, followed by this name.

    Raises:
        VideoError: the shard cannot be read, or is damaged where the video is stored.
    """
    shard, label = Path(packed.shard), Path(f"{packed.shard}: {name}")
    head = json.loads(_content(shard, packed.offset, packed.bytes, packed.crc32, label))
    end = padded_size(packed.offset + packed.bytes)
    parts = [(end + offset, size, crc32) for offset, size, crc32 in head["parts"]]
    if head["coding"]["format"] == "h264":
        return open_video(_content(shard, *parts[0], label), name=label)
    if head["coding"]["format"] == "flow":
        return PackedFlow(shard, head["frames"], parts, label=label)
    info = VideoInfo(head["frames"], head["fps"], head["height"], head["width"])
    return PackedPictures(shard, info, parts, label=label)


class PackedPictures(Video):
    """A video whose frames are JPEGs in a shard. `parts` lists offset, bytes and CRC-32 of each JPEG."""

    def __init__(
        self, shard: Path, info: VideoInfo, parts: list[tuple[int, int, int]], *, label: Path
    ) -> None:
        import av

        self.path, self._shard, self._parts = label, shard, parts
        self.frames, self.fps, self._size = info.frames, info.fps, (info.height, info.width)
        self._codec = cast("av.VideoCodecContext", av.CodecContext.create("mjpeg", "r"))
        self._codec.thread_count = 1  # with one thread, the decoder returns each frame immediately

    def _decode(self, numbers: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame, Path]]:
        import av
        from av.error import FFmpegError

        for number in numbers:
            data = _content(self._shard, *self._parts[number], self.path)
            try:
                (frame,) = self._codec.decode(av.Packet(data))
            except (FFmpegError, ValueError) as error:
                raise VideoError(self.path, f"frame {number} cannot be decoded") from error
            yield number, frame, self.path


class PackedFlow(StoredFlow):
    """Optical flow whose pictures are in a shard. `parts` lists offset, bytes and CRC-32 of each picture."""

    def __init__(self, shard: Path, frames: int, parts: list[tuple[int, int, int]], *, label: Path) -> None:
        super().__init__(label, frames)
        self._shard, self._parts, self._each = shard, parts, len(parts) // frames

    def _pictures(self, number: int) -> list[tuple[str, Path | bytes]]:
        parts = self._parts[number * self._each : (number + 1) * self._each]
        return [(f"flow {number}", _content(self._shard, *part, self.path)) for part in parts]


def _content(shard: Path, offset: int, size: int, crc32: int, label: Path) -> bytes:
    try:
        with shard.open("rb") as file:
            data = os.pread(file.fileno(), size, offset)
    except OSError as error:
        raise VideoError(label, error.strerror or type(error).__name__) from error
    if len(data) < size or zlib.crc32(data) != crc32:
        cause = "the shard is cut short" if len(data) < size else "the shard is damaged here"
        raise VideoError(label, cause)
    return data

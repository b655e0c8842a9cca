"""Videos packed into tar shards, each sample found by its offset; `tanet data pack` writes them.

    OUT/train-000000.tar …      shards in the layout of WebDataset: a sample's files follow each other
        KEY.json                what it is: video, class, label, frames, fps, height, width, coding, parts
        KEY.mp4                 format h264: all its frames
        KEY.000000.jpg …        format jpeg: a file a frame
    OUT/train.index.json        classes, shards, and for each video its label, length and place

WebDataset takes a name up to its first dot for the key, so the pictures of a video are one sample with the
fields 000000.jpg, 000001.jpg, …. KEY is the SHA-256 of the video's path below its root, shortened. `parts`
has [offset, bytes, CRC-32] of each file after the first, counted from the end of KEY.json in the shard, so a
clip costs one small read and one for each wanted frame (or one for its mp4), and damage is seen.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from tanet.video import Video, VideoError, VideoInfo, open_video

if TYPE_CHECKING:
    import av  # loaded only when something is decoded

Format = Literal["jpeg", "h264"]
SPLITS = ("train", "val", "videos")  # videos: no split was made
VERSION = 1
COLUMNS = ("video", "label", "frames", "shard", "offset", "bytes", "crc32")
HEADER = BLOCK = 512  # bytes: a tar's header of a file, and what its content is padded to


@dataclass(frozen=True)
class Packed:
    """Where a sample's KEY.json lies."""

    shard: str
    offset: int
    """Of its content, in bytes from the start of the shard."""
    bytes: int
    crc32: int


@dataclass(frozen=True)
class Row:
    """One packed video."""

    video: str
    """Its path below the root that was packed."""
    label: int
    frames: int
    packed: Packed


def index_path(root: Path, split: str) -> Path:
    """The index of one of SPLITS."""
    return root / f"{split}.index.json"


def write_index(rows: Sequence[Row], *, classes: Sequence[str], coding: dict[str, Any]) -> bytes:
    """The index of shards that lie in its own folder."""
    shards: dict[str, int] = {}
    for row in rows:
        shards[row.packed.shard] = shards.get(row.packed.shard, 0) + 1
    values = {
        "version": VERSION,
        "coding": coding,
        "classes": list(classes),
        "shards": [{"name": name, "samples": shards[name]} for name in sorted(shards)],
        "columns": COLUMNS,
        "samples": [
            [row.video, row.label, row.frames, *(getattr(row.packed, name) for name in COLUMNS[3:])]
            for row in rows
        ],
    }
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def read_index(path: Path) -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """The packed videos, and the names of the classes in the order of the labels.

    Raises:
        ValueError: it is no such index, or a shard is missing.
    """
    try:
        values = json.loads(path.read_bytes())
        if values["version"] != VERSION:
            raise ValueError(f"version {values['version']}, but this tanet reads {VERSION}")
        rows = tuple(
            Row(video, label, frames, Packed(str(path.parent / shard), *place))
            for video, label, frames, shard, *place in values["samples"]
        )
        classes = tuple(values["classes"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not an index of shards ({error})") from error
    for shard in sorted({row.packed.shard for row in rows}):
        if not Path(shard).is_file():
            raise ValueError(f"{path}: no such shard {shard}")
    return rows, classes


def packed_classes(root: Path) -> tuple[str, ...]:
    """The classes of a folder's indexes, in the order of the labels; none where there is no index.

    Raises:
        ValueError: one is no such index, or their classes differ.
    """
    paths = [path for part in SPLITS if (path := index_path(root, part)).exists()]
    found = {path: read_index(path)[1] for path in paths}
    for path in paths[1:]:
        if found[path] != found[paths[0]]:
            raise ValueError(
                f"{path} and {paths[0]} have other classes: pack both with the same --class-names"
            )
    return found[paths[0]] if paths else ()


def open_packed(packed: Packed, *, name: str) -> Video:
    """A packed video; errors call it by its shard and this name. VideoError if it is damaged."""
    shard, label = Path(packed.shard), Path(f"{packed.shard}: {name}")
    head = json.loads(_content(shard, packed.offset, packed.bytes, packed.crc32, label))
    end = padded(packed.offset + packed.bytes)
    parts = [(end + offset, size, crc32) for offset, size, crc32 in head["parts"]]
    if head["coding"]["format"] == "h264":
        return open_video(_content(shard, *parts[0], label), name=label)
    info = VideoInfo(head["frames"], head["fps"], head["height"], head["width"])
    return PackedPictures(shard, info, parts, label=label)


class PackedPictures(Video):
    """Frames that are pictures of a shard; `parts` has the offset, bytes and CRC-32 of each."""

    def __init__(
        self, shard: Path, info: VideoInfo, parts: list[tuple[int, int, int]], *, label: Path
    ) -> None:
        import av

        self.path, self._shard, self._parts = label, shard, parts
        self.frames, self.fps, self._size = info.frames, info.fps, (info.height, info.width)
        self._codec = cast("av.VideoCodecContext", av.CodecContext.create("mjpeg", "r"))
        self._codec.thread_count = 1  # so that each packet gives its picture at once

    def _decode(self, numbers: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame, Path]]:
        import av
        from av.error import FFmpegError

        for number in numbers:
            data = _content(self._shard, *self._parts[number], self.path)
            try:
                (frame,) = self._codec.decode(av.Packet(data))
            except (FFmpegError, ValueError) as error:
                raise VideoError(self.path, f"frame {number} does not decode") from error
            yield number, frame, self.path


def padded(size: int) -> int:
    """Bytes that a content of this size takes in a tar."""
    return -(-size // BLOCK) * BLOCK


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

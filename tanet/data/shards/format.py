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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tanet.errors import UserError

if TYPE_CHECKING:
    pass  # loaded only when something is decoded

Format = Literal["jpeg", "h264"]
SPLITS = ("train", "val", "videos")  # videos: no split was made
VERSION = 1
COLUMNS = ("video", "label", "frames", "shard", "offset", "bytes", "crc32")
HEADER = BLOCK = 512  # bytes: a tar's header of a file, and what its content is padded to


@dataclass(frozen=True)
class ShardEntry:
    """Where a sample's KEY.json lies."""

    shard: str
    offset: int
    """Of its content, in bytes from the start of the shard."""
    bytes: int
    crc32: int


@dataclass(frozen=True)
class PackedVideo:
    """One packed video."""

    video: str
    """Its path below the root that was packed."""
    label: int
    frames: int
    shard_entry: ShardEntry


def index_path(root: Path, split: str) -> Path:
    """The index of one of SPLITS."""
    return root / f"{split}.index.json"


def write_index(rows: Sequence[PackedVideo], *, classes: Sequence[str], encoding: dict[str, Any]) -> bytes:
    """The index of shards that lie in its own folder."""
    shards: dict[str, int] = {}
    for row in rows:
        shards[row.shard_entry.shard] = shards.get(row.shard_entry.shard, 0) + 1
    values = {
        "version": VERSION,
        "coding": encoding,
        "classes": list(classes),
        "shards": [{"name": name, "samples": shards[name]} for name in sorted(shards)],
        "columns": COLUMNS,
        "samples": [
            [row.video, row.label, row.frames, *(getattr(row.shard_entry, name) for name in COLUMNS[3:])]
            for row in rows
        ],
    }
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def read_index(path: Path) -> tuple[tuple[PackedVideo, ...], tuple[str, ...]]:
    """The packed videos, and the names of the classes in the order of the labels.

    Raises:
        UserError: it is no such index, or a shard is missing.
    """
    try:
        values = json.loads(path.read_bytes())
        if values["version"] != VERSION:
            raise UserError(f"version {values['version']}, but this tanet reads {VERSION}")
        rows = tuple(
            PackedVideo(video, label, frames, ShardEntry(str(path.parent / shard), *place))
            for video, label, frames, shard, *place in values["samples"]
        )
        classes = tuple(values["classes"])
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: not an index of shards ({error})") from error
    for shard in sorted({row.shard_entry.shard for row in rows}):
        if not Path(shard).is_file():
            raise UserError(f"{path}: no such shard {shard}")
    return rows, classes


def shard_classes(root: Path) -> tuple[str, ...]:
    """The classes of a folder's indexes, in the order of the labels; none where there is no index.

    Raises:
        UserError: one is no such index, or their classes differ.
    """
    paths = [path for part in SPLITS if (path := index_path(root, part)).exists()]
    found = {path: read_index(path)[1] for path in paths}
    for path in paths[1:]:
        if found[path] != found[paths[0]]:
            raise UserError(
                f"{path} and {paths[0]} have other classes: pack both with the same --class-names"
            )
    return found[paths[0]] if paths else ()


def padded_size(size: int) -> int:
    """Bytes that a content of this size takes in a tar."""
    return -(-size // BLOCK) * BLOCK

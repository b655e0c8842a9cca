"""File format of the tar shards that `tanet data pack` writes. Each packed video is found by its offset.

    OUT/train-000000.tar …      shards in the layout of WebDataset: the files of a sample are consecutive
        KEY.json                metadata: video, class, label, frames, fps, height, width, coding, parts
        KEY.mp4                 only in format h264: one file with all frames
        KEY.000000.jpg …        only in format jpeg: one file per frame
        KEY.000000.x.jpg …      only in format flow: the pictures of each optical flow, x and y or both in one
    OUT/train.index.json        classes, shards, and the label, number of frames and location of each video

KEY is the shortened SHA-256 of the video's path below its root. WebDataset uses a file name up to its first
dot as the key of a sample. So the images of a video are one sample with the fields 000000.jpg, 000001.jpg, ….

`parts` lists [offset, bytes, CRC-32] of each file after KEY.json. Offsets count from the end of KEY.json in
the shard. So reading a clip takes one small read for KEY.json, plus one read per picture or one read for the
mp4. The CRC-32 checksums detect damage.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tanet.errors import UserError
from tanet.runtime.files import json_bytes

Format = Literal["jpeg", "h264", "flow"]
SPLITS = ("train", "val", "videos")  # "videos": not split
VERSION = 1
COLUMNS = ("video", "label", "frames", "shard", "offset", "bytes", "crc32")
# A tar stores a header of 512 bytes before each file, and pads each file to a multiple of 512 bytes.
HEADER = BLOCK = 512


@dataclass(frozen=True)
class ShardEntry:
    """Location of a packed video in a shard: position, size and checksum of its file KEY.json."""

    shard: str
    offset: int
    """Start of the content of KEY.json, in bytes from the start of the shard."""
    bytes: int
    crc32: int


@dataclass(frozen=True)
class PackedVideo:
    """Entry of one packed video in the index of a split."""

    video: str
    """Path of the original video below the folder that was packed."""
    label: int
    frames: int
    shard_entry: ShardEntry


def index_path(root: Path, split: str) -> Path:
    """Return the path of the index file of a split. The split is one of SPLITS."""
    return root / f"{split}.index.json"


def write_index(rows: Sequence[PackedVideo], *, classes: Sequence[str], encoding: dict[str, Any]) -> bytes:
    """Return an index of shards as JSON. The index file must be saved in the folder of the shards."""
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
    return json_bytes(values, compact=True)


def read_index(path: Path) -> tuple[tuple[PackedVideo, ...], tuple[str, ...]]:
    """Read an index file. Return the packed videos, and the class names in the order of the labels.

    Raises:
        UserError: the file is not an index of shards, or a shard is missing.
    """
    try:
        values = json.loads(path.read_bytes())
        if values["version"] != VERSION:
            raise UserError(f"index version {values['version']}; this tanet reads only version {VERSION}")
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
    """Read the class names from the shard indexes in a folder, in the order of the labels.

    Return () if the folder has no index.

    Raises:
        UserError: a file is not an index of shards, a shard is missing, or the classes of two indexes differ.
    """
    paths = [path for part in SPLITS if (path := index_path(root, part)).exists()]
    found = {path: read_index(path)[1] for path in paths}
    for path in paths[1:]:
        if found[path] != found[paths[0]]:
            raise UserError(
                f"{path} and {paths[0]} have different classes: pack both with the same --class-names"
            )
    return found[paths[0]] if paths else ()


def padded_size(size: int) -> int:
    """Return how many bytes a file of `size` bytes occupies in a tar, without the header of the file."""
    return -(-size // BLOCK) * BLOCK

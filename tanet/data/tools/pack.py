"""Implementation of `tanet data pack`: decode videos, shrink and re-encode them, and write them into shards.

Each worker process decodes and encodes one video at a time. The main process writes the shards. A shard gets
its final name when the shard is complete. Videos in complete shards are not packed again, so an interrupted
run can continue, and a later run can add new videos. Videos are packed in random order, so that each shard
contains many classes. This order matters if the shards are streamed.
"""

import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from tanet.data.flow_location import copy_settings
from tanet.data.samples import Sample
from tanet.data.shards.format import HEADER, PackedVideo, ShardEntry, index_path, padded_size, write_index
from tanet.data.tools.encode import EncodedVideo, Encoding, encode
from tanet.errors import UserError
from tanet.runtime.files import json_bytes, name_below, text_bytes, write_atomically
from tanet.runtime.process_pool import FailedFile, map_files


def pack(
    samples: Sequence[Sample],
    *,
    classes: Sequence[str],
    root: Path,
    out: Path,
    split: str,
    encoding: Encoding,
    shard_size: int,
    workers: int,
    limit: float,
) -> Generator[tuple[str, str | None], None, None]:
    """Pack one split, and write its index at the end.

    Args:
        samples: labelled videos.
        classes: class names in the order of the labels.
        root: folder of the videos. In the shards, a video is named by its path relative to this folder.
        out: folder of the shards.
        split: prefix of the file names of the shards and of the index.
        encoding: settings for storing frames.
        shard_size: size in bytes at which a shard is full.
        workers: number of processes that decode and encode.
        limit: time limit for one video, in seconds.

    Yields:
        The name of each finished video, and None or the reason why the video cannot be packed.

    Raises:
        UserError: a video is listed twice, a shard in `out` is damaged, or a shard in `out` contains a video
            that was packed with another encoding or label.
    """
    named = {_name(sample, root): sample for sample in samples}
    if len(named) < len(samples):
        raise UserError(
            f"{len(samples) - len(named)} videos are listed more than once, perhaps with several labels: "
            "shards hold each video, or each part of a video, once and with one label"
        )
    out.mkdir(parents=True, exist_ok=True)
    rows = _packed_before(out, split, named, encoding)
    for name in rows:
        yield name, None
    todo = {Path(named[name].path): name for name in named if name not in rows}
    order = [list(todo)[i] for i in np.random.default_rng(0).permutation(len(todo))] if todo else []
    counts = {sample.path: sample.frames for sample in samples if sample.frames is not None}
    work = partial(encode, encoding=encoding, counts=counts)
    with ShardWriter(out, split, size=shard_size) as shards:
        for path, result in map_files(work, order, workers=workers, limit=limit):
            name = todo[path]
            if isinstance(result, EncodedVideo):
                sample = named[name]
                about = {"video": name, "class": classes[sample.label], "label": sample.label}
                entry = shards.add(result, about={**about, "coding": asdict(encoding)})
                rows[name] = PackedVideo(name, sample.label, result.frames, entry)
                yield name, None
            else:
                yield name, result.cause if isinstance(result, FailedFile) else result
    if encoding.format == "flow":
        copy_settings(root, out)
    index = write_index(
        [rows[name] for name in named if name in rows], classes=classes, encoding=asdict(encoding)
    )
    write_atomically(index_path(out, split), index)


def _packed_before(
    out: Path, split: str, named: Mapping[str, Sample], encoding: Encoding
) -> dict[str, PackedVideo]:
    """Return the videos that complete shards already contain, by name."""
    rows: dict[str, PackedVideo] = {}
    for shard in sorted(out.glob(f"{split}-*.tar")):
        for head, entry in scan_shard(shard):
            if (sample := named.get(head["video"])) is None:
                continue  # the video is no longer in the list
            if head["coding"] != asdict(encoding) or head["label"] != sample.label:
                raise UserError(
                    f"{shard}: {head['video']} was packed with another encoding or label: remove the shard "
                    "to pack its videos again"
                )
            rows[head["video"]] = PackedVideo(head["video"], sample.label, head["frames"], entry)
    return rows


class ShardWriter:
    """Context manager that writes the shards of a split. On an error, it removes the unfinished shard."""

    def __init__(self, out: Path, split: str, *, size: int) -> None:
        self.out, self.split, self.size = out, split, size
        self.number = 0
        self.unfinished = out / f".{split}.tar"
        self.tar: tarfile.TarFile | None = None

    def add(self, coded: EncodedVideo, *, about: dict[str, Any]) -> ShardEntry:
        """Write an encoded video to the open shard, and return the location of the video."""
        if self.tar is None:
            while self._path().exists():
                self.number += 1
            self.tar = tarfile.open(  # noqa: SIM115, `finish` closes the file
                self.unfinished, "w", format=tarfile.USTAR_FORMAT
            )
        key = hashlib.sha256(text_bytes(about["video"])).hexdigest()[:20]
        parts, end = [], 0
        for part in coded.parts:
            parts.append((end + HEADER, len(part), zlib.crc32(part)))
            end += HEADER + padded_size(len(part))
        size = {name: getattr(coded, name) for name in ("frames", "fps", "height", "width")}
        head = json_bytes({**about, **size, "parts": parts})
        packed = ShardEntry(self._path().name, self.tar.offset + HEADER, len(head), zlib.crc32(head))
        self._write(f"{key}.json", head)
        for ending, part in zip(coded.names, coded.parts, strict=True):
            self._write(f"{key}.{ending}", part)
        if self.tar.offset >= self.size:
            self.finish()
        return packed

    def finish(self) -> None:
        """Close the open shard, if any, and rename it to its final name."""
        if self.tar is not None:
            self.tar.close()
            with self.unfinished.open("rb") as file:
                os.fsync(file.fileno())
            self.unfinished.replace(self._path())
            self.tar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.finish()
        elif self.tar is not None:
            self.tar.close()
            self.unfinished.unlink()

    def _path(self) -> Path:
        return self.out / f"{self.split}-{self.number:06d}.tar"

    def _write(self, name: str, content: bytes) -> None:
        assert self.tar is not None
        member = tarfile.TarInfo(name)
        member.size = len(content)
        self.tar.addfile(member, io.BytesIO(content))


def scan_shard(shard: Path) -> Iterator[tuple[dict[str, Any], ShardEntry]]:
    """Yield the metadata and location of each sample of a shard.

    Raises:
        UserError: the shard is damaged, or was not written by `pack`.
    """
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    data = tar.extractfile(member).read()  # type: ignore[union-attr]
                    head = json.loads(data)
                    if not {"video", "label", "frames", "coding"} <= head.keys():
                        raise UserError(f"{member.name} must contain video, label, frames and coding")
                    yield head, ShardEntry(shard.name, member.offset_data, len(data), zlib.crc32(data))
    except (tarfile.TarError, OSError, KeyError, ValueError) as error:
        raise UserError(f"{shard}: damaged, or not a shard of tanet ({error}); remove the file") from error


def _name(sample: Sample, root: Path) -> str:
    """Return the name of a video in the shards.

    The name is the path of the video relative to the root, or the absolute path if the video is elsewhere.
    """
    return name_below(sample.path, root) or Path(sample.path).absolute().as_posix()

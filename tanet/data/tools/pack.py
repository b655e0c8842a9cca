"""`tanet data pack`: videos decoded, made smaller, coded again, and written into shards.

Processes decode and code, a video each; this one writes. A shard that is full is renamed into place, and what
stands in such shards is not packed again: a run that was stopped goes on, and new videos are added. Videos
come in a random order, so that whoever streams the shards meets many classes in each.
"""

import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from tanet.data.samples import Sample
from tanet.data.shards.format import HEADER, PackedVideo, ShardEntry, index_path, padded_size, write_index
from tanet.data.tools.encode import EncodedVideo, Encoding, encode
from tanet.errors import UserError
from tanet.runtime.files import name_below, write_atomically
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
) -> Iterator[tuple[str, str | None]]:
    """Pack one split; each video's name, and why it can not be packed, as they come; at the end the index.

    Args:
        samples: labelled videos.
        classes: names in the order of the labels.
        root: videos below it are named by their path from there.
        out: folder of the shards.
        split: what the shards and the index are called by.
        encoding: how frames are stored.
        shard_size: bytes after which a shard is full.
        workers: processes that decode and code.
        limit: seconds for one video.

    Raises:
        UserError: a video comes twice, or what stands in `out` was packed in another way.
    """
    named = {_name(sample, root): sample for sample in samples}
    if len(named) < len(samples):
        raise UserError(
            f"{len(samples) - len(named)} videos come more than once: a packed video has one label"
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
    index = write_index(
        [rows[name] for name in named if name in rows], classes=classes, encoding=asdict(encoding)
    )
    write_atomically(index_path(out, split), index)


def _packed_before(
    out: Path, split: str, named: Mapping[str, Sample], encoding: Encoding
) -> dict[str, PackedVideo]:
    """Find the videos that stand in complete shards already, by name."""
    rows: dict[str, PackedVideo] = {}
    for shard in sorted(out.glob(f"{split}-*.tar")):
        for head, entry in scan_shard(shard):
            if (sample := named.get(head["video"])) is None:
                continue  # it is no longer in the list
            if head["coding"] != asdict(encoding) or head["label"] != sample.label:
                raise UserError(
                    f"{shard}: {head['video']} was packed with another coding or label: remove it"
                )
            rows[head["video"]] = PackedVideo(head["video"], sample.label, head["frames"], entry)
    return rows


class ShardWriter:
    """The shards of a split as they are written; on an error the unfinished one is removed."""

    def __init__(self, out: Path, split: str, *, size: int) -> None:
        self.out, self.split, self.size = out, split, size
        self.number = 0
        self.unfinished = out / f".{split}.tar"
        self.tar: tarfile.TarFile | None = None

    def add(self, coded: EncodedVideo, *, about: dict[str, Any]) -> ShardEntry:
        """Write a sample; where it lies."""
        if self.tar is None:
            while self._path().exists():
                self.number += 1
            self.tar = tarfile.open(  # noqa: SIM115, `finish` closes it
                self.unfinished, "w", format=tarfile.USTAR_FORMAT
            )
        key = hashlib.sha256(about["video"].encode()).hexdigest()[:20]
        parts, end = [], 0
        for part in coded.parts:
            parts.append((end + HEADER, len(part), zlib.crc32(part)))
            end += HEADER + padded_size(len(part))
        size = {name: getattr(coded, name) for name in ("frames", "fps", "height", "width")}
        head = json.dumps({**about, **size, "parts": parts}, ensure_ascii=False).encode()
        packed = ShardEntry(self._path().name, self.tar.offset + HEADER, len(head), zlib.crc32(head))
        self._write(f"{key}.json", head)
        if about["coding"]["format"] == "h264":
            self._write(f"{key}.mp4", coded.parts[0])
        else:
            for number, part in enumerate(coded.parts):
                self._write(f"{key}.{number:06d}.jpg", part)
        if self.tar.offset >= self.size:
            self.finish()
        return packed

    def finish(self) -> None:
        """Close the shard that is open, and give it its name."""
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
    """What each sample of a shard says of itself, and where.

    Raises:
        UserError: it is damaged, or no shard that `pack` wrote.
    """
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                if member.name.endswith(".json"):
                    data = tar.extractfile(member).read()  # type: ignore[union-attr]
                    head = json.loads(data)
                    if not {"video", "label", "frames", "coding"} <= head.keys():
                        raise UserError(f"{member.name} does not say what it is")
                    yield head, ShardEntry(shard.name, member.offset_data, len(data), zlib.crc32(data))
    except (tarfile.TarError, OSError, KeyError, ValueError) as error:
        raise UserError(f"{shard}: a damaged shard, or not one of ours ({error}): remove it") from error


def _name(sample: Sample, root: Path) -> str:
    """What a video is called in the shards: its path below the root, or all of it."""
    return name_below(sample.path, root) or Path(sample.path).absolute().as_posix()

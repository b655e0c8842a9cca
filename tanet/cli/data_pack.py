"""The command `tanet data pack ROOT|LIST OUT`, which packs videos into tar shards."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, arg

from tanet.cli.common import ListRoot, OptionalFile, parse
from tanet.cli.console import progress_bar
from tanet.cli.lines import fail, say, warn
from tanet.data.annotations import read_split
from tanet.data.samples import Sample
from tanet.data.shards.format import Format
from tanet.data.tools.encode import Encoding
from tanet.data.tools.pack import pack
from tanet.errors import UserError
from tanet.recipes.recipe import Data
from tanet.runtime.device import available_cores
from tanet.video.excerpt import split_part

SAMPLE = 8  # number of packed videos that the estimate of the size is made from
CERTAIN = 0.8  # packing stops if even this fraction of the estimate does not fit on the disk


@dataclass(frozen=True)
class PackFlags:
    """Pack videos into tar shards. Training reads shards faster than a folder of videos.

    Examples:

      tanet data pack videos/ packed/ --format jpeg
      tanet train finetune --data.root packed

    JPEG frames are the fastest to read, and h264 needs the least space. The shards follow the WebDataset
    layout, and an index is written next to the shards. Unreadable videos are reported and left out. You can
    stop the command at any time. Run the command again to continue after the last full shard.
    """

    videos: Annotated[Positional[Path], arg(metavar="ROOT|LIST")]
    """Folder of class folders (which may lie in train/ and val/), or a list that training can read."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder to write the shards to."""
    root: ListRoot = None
    """With a list: folder that the paths in the list are relative to."""
    split: Literal["train", "val"] = "train"
    """With a list: split that the videos in the list belong to."""
    class_names: OptionalFile = None
    """Text file with one class name per line, in label order. Default: names from the folders or the list."""
    format: Format = "jpeg"
    """jpeg stores one JPEG image per frame. h264 stores an mp4 file with a key frame every 4 frames. flow
    stores the pictures of optical flow that `tanet data flow` has written, unchanged."""
    short_side: int = 256
    """Short side of the packed frames, in pixels. Smaller videos are not enlarged. 0 keeps all sizes."""
    quality: int = 90
    """JPEG quality, 1 to 100."""
    crf: int = 20
    """h264 constant rate factor, 0 (lossless) to 51."""
    shard_size: float = 1000.0
    """Size at which a shard is full and the next shard starts, in MB."""
    workers: int = field(default_factory=available_cores)
    """Number of processes that decode and encode."""
    limit: float = 120.0
    """Time limit for each video, in seconds. A video that takes longer is left out."""


def run(args: list[str]) -> int:
    """Run `tanet data pack …`."""
    flags = parse(
        PackFlags(tyro.MISSING, tyro.MISSING),
        args,
        prog="tanet data pack",
        usage="tanet data pack ROOT|LIST OUT",
    )
    if not flags.shard_size > 0:
        raise UserError(f"--shard-size must be positive, not {flags.shard_size:g}")
    try:
        _pack(flags)
    except KeyboardInterrupt:
        return fail("stopped; run the same command again to continue after the last full shard", status=130)
    if flags.format == "flow":
        say(f"to train: tanet train finetune --model.flows 5 --data.root {flags.out}")
    else:
        say(f"to train: tanet train finetune --data.root {flags.out}")
    return 0


def _pack(flags: PackFlags) -> None:
    """Pack all splits, and print their sizes and the total."""
    splits, classes, root = _splits(flags)
    if flags.format == "flow" and any(split_part(s.path)[1] for samples in splits.values() for s in samples):
        raise UserError("stored flow of parts of videos (start, end) is not read: pack the frames instead")
    encoding = Encoding(flags.format, flags.short_side, flags.quality, flags.crf)
    room = RoomCheck(flags.out, splits)
    for split, samples in splits.items():
        bad = 0
        videos = pack(
            samples,
            classes=classes,
            root=root,
            out=flags.out,
            split=split,
            encoding=encoding,
            shard_size=round(1e6 * flags.shard_size),
            workers=flags.workers,
            limit=flags.limit,
        )
        # If the disk is too small, `closing` ends the workers and removes the unfinished shard.
        with progress_bar(f"packing {split}", total=len(samples)) as progress, closing(videos):
            for name, cause in videos:
                if cause is not None:
                    bad += 1
                    warn(f"left out: {name}: {cause}")
                progress.advance(note=f"{bad} bad")
                if needs := room.needs_after_video():
                    warn(needs)
        shards = shards_of(flags.out, split)
        say(
            f"{split}: {len(samples) - bad} of {len(samples)} videos, {len(classes)} classes, "
            f"{len(shards)} shards, {byte_count(_size(shards))}"
        )
    if not shards_of(flags.out, *splits):
        raise UserError(f"{flags.out}: no video could be packed")
    total, free = _size(shards_of(flags.out, *splits)), shutil.disk_usage(flags.out).free
    say(f"{flags.out}: {byte_count(total)} written in total, {byte_count(free)} free")


class RoomCheck:
    """Estimate of the bytes that packing still writes, made once, after the first videos.

    Videos are packed in random order, so the first ones are a sample of all. Videos that complete shards
    already contain do not count.

    Args:
        out: folder of the shards.
        splits: the videos of each split.
    """

    def __init__(self, out: Path, splits: Mapping[str, Sequence[Sample]]) -> None:
        self.out, self.splits = out, tuple(splits)
        self.left = sum(map(len, splits.values()))
        self.before = _size(shards_of(out, *splits))
        self.packed = 0
        self.told = False

    def needs_after_video(self) -> str:
        """Count a finished video. Once the estimate can be made, return it as text, otherwise "".

        Raises:
            UserError: the disk has too little room.
        """
        self.left -= 1
        if self.told:
            return ""
        written = _size(shards_of(self.out, *self.splits, unfinished=True)) - self.before
        self.packed += written > 0
        if self.packed < SAMPLE:
            return ""
        self.told = True
        needs = written / self.packed * self.left
        free = shutil.disk_usage(self.out).free
        text = f"about {byte_count(written + needs)} to write, {byte_count(free)} free"
        if CERTAIN * needs > free:
            raise UserError(
                f"{self.out}: too little room on the disk ({text}): free some, choose another OUT, "
                "lower --short-side or --quality, or use --format h264"
            )
        return text


def shards_of(out: Path, *splits: str, unfinished: bool = False) -> list[Path]:
    """Return the shards of some splits, and on request also the shards that are still being written."""
    found = [shard for split in splits for shard in sorted(out.glob(f"{split}-*.tar"))]
    open_ones = [out / f".{split}.tar" for split in splits] if unfinished else []
    return found + [shard for shard in open_ones if shard.exists()]


def _size(files: Sequence[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def byte_count(count: float) -> str:
    """Format a number of bytes, for example "3.2 GB"."""
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.5:
            return f"{count:.1f} {unit}" if count < 99.95 else f"{count:.0f} {unit}"
    return f"{count / 1000:.1f} TB"


def _splits(flags: PackFlags) -> tuple[dict[str, Sequence[Sample]], tuple[str, ...], Path]:
    """Return the videos of each split, the class names, and the folder that video names are relative to."""
    names, path = str(flags.class_names or ""), flags.videos
    if path.is_file():
        found = read_split(Data(root=str(flags.root or ""), class_names=names, train=str(path)))
        return {flags.split: found.train}, found.classes, flags.root or path.parent
    if flags.root or flags.split != "train":
        raise UserError("--root and --split apply to a list of videos, but no list is given: remove them")
    found = read_split(Data(root=str(path), class_names=names, val_fraction=0.0))
    if found.val:
        return {"train": found.train, "val": found.val}, found.classes, path
    return {"videos": found.train}, found.classes, path

"""The command `tanet data pack ROOT|LIST OUT`, which packs videos into tar shards."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, arg

from tanet.cli.common import OptionalFile, fail, parse
from tanet.cli.console import progress_bar, say, warn
from tanet.data.annotations import read_split
from tanet.data.samples import Sample
from tanet.data.shards.format import Format
from tanet.data.tools.encode import Encoding
from tanet.data.tools.pack import pack
from tanet.errors import UserError
from tanet.recipes.recipe import Data
from tanet.runtime.device import available_cores


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
    root: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="(default: the list's folder)")] = (
        None
    )
    """With a list: folder that the paths in the list are relative to."""
    split: Literal["train", "val"] = "train"
    """With a list: split that the videos in the list belong to."""
    class_names: OptionalFile = None
    """Text file with one class name per line, in label order. Default: names from the folders or the list."""
    format: Format = "jpeg"
    """jpeg stores one JPEG image per frame. h264 stores an mp4 file with a key frame every 4 frames."""
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
    say(f"to train: tanet train finetune --data.root {flags.out}")
    return 0


def _pack(flags: PackFlags) -> None:
    splits, classes, root = _splits(flags)
    encoding = Encoding(flags.format, flags.short_side, flags.quality, flags.crf)
    for split, samples in splits.items():
        bad = 0
        with progress_bar() as progress:
            task = progress.add_task(f"packing {split}", total=len(samples), note="")
            for name, cause in pack(
                samples,
                classes=classes,
                root=root,
                out=flags.out,
                split=split,
                encoding=encoding,
                shard_size=round(1e6 * flags.shard_size),
                workers=flags.workers,
                limit=flags.limit,
            ):
                if cause is not None:
                    bad += 1
                    warn(f"left out: {name}: {cause}")
                progress.update(task, advance=1, note=f"{bad} bad")
        shards = sorted(flags.out.glob(f"{split}-*.tar"))
        size = sum(shard.stat().st_size for shard in shards)
        say(
            f"{split}: {len(samples) - bad} of {len(samples)} videos, {len(classes)} classes, "
            f"{len(shards)} shards, {size / 1e6:.1f} MB"
        )


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

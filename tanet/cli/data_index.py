"""The command `tanet data index DATASET ROOT`, which lists the videos of a public data set."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, arg

from tanet.cli.common import parse, write_lines, write_text
from tanet.cli.console import progress_bar
from tanet.cli.lines import fail, say, warn
from tanet.data.tools import index as indexing
from tanet.data.tools import public_datasets
from tanet.data.tools.index import LocatedVideos
from tanet.data.tools.public_datasets import DatasetListing
from tanet.errors import UserError, abbreviate
from tanet.runtime.device import available_cores
from tanet.video import VideoInfo


@dataclass(frozen=True)
class IndexFlags:
    """Find the videos of a public data set in a folder, and write a list of these videos for training.

    Examples:

      tanet data index something-v2 /data/sthv2 --split train --out train.csv
      tanet train something-v2 --data.root /data/sthv2 --data.train train.csv …

    Videos are found by their file names, in any arrangement of folders. Three more files are written next to
    the list: the class names in their published order, the missing videos, and the unreadable videos. You can
    stop the command at any time. Run the command again to continue: it skips videos that were already read.
    """

    dataset: Annotated[Positional[str], arg(metavar="DATASET")]
    """Data set: kinetics400, kinetics600, kinetics700, something-v1, something-v2, ucf101, hmdb51, jester."""
    root: Annotated[Positional[Path], arg(metavar="ROOT")]
    """Folder of the videos. The videos may lie in subfolders."""
    split: Literal["train", "val", "test"] = "train"
    """Split of the data set. ucf101 and hmdb51 have train, test; something and jester have train, val."""
    fold: Literal[1, 2, 3] = 1
    """Number of the official split to use. ucf101 and hmdb51 have three splits."""
    annotations: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: ROOT or near)")] = (
        None
    )
    """Folder of the official annotation files, or the annotation file of this split."""
    out: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: DATASET-SPLIT.csv)")] = None
    """List to write. The name must end in .csv."""
    workers: int = field(default_factory=available_cores)
    """Number of processes that read videos."""
    limit: float = 10.0
    """Time limit for each video, in seconds. A video that takes longer is reported as unreadable."""


def run(args: list[str]) -> int:
    """Run `tanet data index`."""
    flags = parse(
        IndexFlags(tyro.MISSING, tyro.MISSING),
        args,
        prog="tanet data index",
        usage="tanet data index DATASET ROOT",
    )
    target = flags.out or Path(f"{flags.dataset}-{flags.split}.csv")
    if target.suffix != ".csv":
        raise UserError(f"{target}: the list is a CSV file, so choose a name that ends in .csv")
    listing = public_datasets.read_listing(
        flags.dataset, split=flags.split, root=flags.root, annotations=flags.annotations, fold=flags.fold
    )
    found = indexing.locate_videos(flags.root, listing.entries)
    for note in (*listing.notes, *found.notes):
        warn(note)
    try:
        answers = _probe(
            flags, sorted(set(found.paths.values())), journal=target.with_suffix(".probed.jsonl")
        )
    except KeyboardInterrupt:
        return fail("stopped; run the same command again to continue from here", status=130)
    _write_index(target, listing, found, answers)
    part = "train" if flags.split == "train" else "val"
    words = ["--data.root", flags.root, f"--data.{part}", target]
    words += ["--data.class-names", target.with_suffix(".classes.txt")]
    say(f"to train: {shlex.join(map(str, words))}")
    return 0


def _probe(flags: IndexFlags, paths: Sequence[str], *, journal: Path) -> dict[str, VideoInfo | str]:
    answers = {}
    bar = progress_bar("probing", total=len(paths))
    with indexing.Journal(journal, root=flags.root) as known, bar as progress:
        for path, answer in indexing.probe_all(
            flags.root, paths, journal=known, workers=flags.workers, limit=flags.limit
        ):
            answers[path] = answer
            progress.advance()
    return {path: answers[path] for path in paths}


def _write_index(
    target: Path, listing: DatasetListing, found: LocatedVideos, answers: Mapping[str, VideoInfo | str]
) -> None:
    """Write the list of videos and the files next to the list, and print a summary."""
    infos = {path: answer for path, answer in answers.items() if isinstance(answer, VideoInfo)}
    bad = {path: answer for path, answer in answers.items() if isinstance(answer, str)}
    write_text(target, indexing.as_csv(found, infos))
    write_lines(target.with_suffix(".classes.txt"), listing.classes)
    lacking = {"missing": list(found.missing), "unreadable": [f"{path}: {bad[path]}" for path in bad]}
    for what, lines in lacking.items():
        file = target.with_suffix(f".{what}.txt")
        write_lines(file, lines)
        if lines:
            warn(f"{len(lines)} videos {what}: {abbreviate(lines, 3)}; all in {file}")
    rows = sum(path in infos for path in found.paths.values())
    say(f"{target}: {rows} of {len(listing.entries)} videos, {len(listing.classes)} classes")

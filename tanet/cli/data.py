"""`tanet data index DATASET ROOT`, `tanet data check ROOT|LIST`, `tanet data pack ROOT|LIST OUT`."""

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.markup import escape
from rich.table import Column, Table
from tyro.conf import Positional, arg

from tanet import catalog, indexing, inspection
from tanet.annotation import VIDEO_SUFFIXES, videos_in, videos_under
from tanet.catalog import Listing
from tanet.checkpoint import some, versions, write_atomically
from tanet.cli import data_pack
from tanet.cli.common import fail, parse
from tanet.device import available_cores
from tanet.indexing import Found
from tanet.inspection import Finding
from tanet.screen import bar, out, say, warn
from tanet.video import VideoInfo

USAGE = """usage: tanet data index DATASET ROOT   a list of a public data set's videos, for training to read
       tanet data check ROOT|LIST      every video decoded, bad ones named
       tanet data pack ROOT|LIST OUT   tar shards, which training reads faster

`tanet data COMMAND --help` tells more."""
ROWS = 40  # of bad videos on the screen; a report has them all


@dataclass(frozen=True)
class IndexFlags:
    """Find the videos of a public data set below a folder, and write a list of them that training reads.

    tanet data index something-v2 /data/sthv2 --split train --out sthv2/train.csv

    tanet train something-v2 --data.root /data/sthv2 --data.train sthv2/train.csv …

    Videos are found by name, in class folders or without. Beside the list come the class names in their
    published order, what is missing, and what can not be read. It may be stopped at any time: the same
    command goes on, and later probes only what is new.
    """

    dataset: Annotated[Positional[str], arg(metavar="DATASET")]
    """kinetics400, kinetics600, kinetics700, something-v1, something-v2, ucf101, hmdb51 or jester."""
    root: Annotated[Positional[Path], arg(metavar="ROOT")]
    """Folder of the videos, or of folders of them."""
    split: Literal["train", "val", "test"] = "train"
    """Part of the data set; ucf101 and hmdb51 have train and test, something and jester train and val."""
    fold: Literal[1, 2, 3] = 1
    """Which of the three ways in which ucf101 and hmdb51 are split."""
    annotations: Annotated[Path | None, arg(metavar="PATH", help_behavior_hint="(default: ROOT or near)")] = (
        None
    )
    """Folder of the official annotation files, or the list of this split."""
    out: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: DATASET-SPLIT.csv)")] = None
    """The list to write: .csv."""
    workers: int = available_cores()
    """Processes that read."""
    limit: float = 10.0
    """Seconds after which a video is given up."""


@dataclass(frozen=True)
class CheckFlags:
    """Open and fully decode every video, and name the bad ones; exit status 1 if there are any.

    tanet data check videos/ --quarantine bad.txt --json report.json

    tanet train finetune --data.root videos --data.quarantine bad.txt

    Bad is what can not be read, is truncated, empty, without a video stream, or too short, and what hangs or
    kills the process that decodes it. Odd videos (variable frame rate, turned, an odd number of pixels) are
    fine, and only noted.
    """

    videos: Annotated[Positional[Path], arg(metavar="ROOT|LIST")]
    """A folder of videos, a list as training reads it, or one video."""
    root: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="(default: the list's folder)")] = (
        None
    )
    """With a list: the base of its paths."""
    json: Annotated[Path | None, arg(metavar="FILE")] = None
    """File for all that was found."""
    quarantine: Annotated[Path | None, arg(metavar="FILE")] = None
    """File for the bad videos, one a line, for --data.quarantine."""
    min_frames: int = 8
    """A video of fewer frames is short."""
    workers: int = available_cores()
    """Processes that decode."""
    limit: float = 10.0
    """Seconds after which a video is given up."""


def run(args: list[str]) -> int:
    """`tanet data …`: exit status 1 if the check found bad videos."""
    commands = {"index": _index, "check": _check, "pack": data_pack.run}
    name, *rest = args or ["--help"]
    if name in ("-h", "--help"):
        say(USAGE)
        return 0
    if name not in commands:
        raise ValueError(f"unknown command 'data {name}': known are {', '.join(commands)}")
    return commands[name](rest)


def _index(args: list[str]) -> int:
    flags = parse(IndexFlags(tyro.MISSING, tyro.MISSING), args, prog="tanet data index")
    target = flags.out or Path(f"{flags.dataset}-{flags.split}.csv")
    if target.suffix != ".csv":
        raise ValueError(f"{target}: the list is a CSV file, and is to be called so")
    listing = catalog.listing(
        flags.dataset, split=flags.split, root=flags.root, annotations=flags.annotations, fold=flags.fold
    )
    found = indexing.find(flags.root, listing.entries)
    for note in (*listing.notes, *found.notes):
        warn(note)
    try:
        answers = _probe(
            flags, sorted(set(found.paths.values())), journal=target.with_suffix(".probed.jsonl")
        )
    except KeyboardInterrupt:
        return fail("stopped; the same command goes on from here", status=130)
    _write_index(target, listing, found, answers)
    part = "train" if flags.split == "train" else "val"
    words = ["--data.root", flags.root, f"--data.{part}", target]
    words += ["--data.class-names", target.with_suffix(".classes.txt")]
    say(f"to train: {shlex.join(map(str, words))}")
    return 0


def _probe(flags: IndexFlags, paths: Sequence[str], *, journal: Path) -> dict[str, VideoInfo | str]:
    answers = {}
    with indexing.Journal(journal, root=flags.root) as known, bar() as progress:
        task = progress.add_task("probing", total=len(paths), note="")
        for path, answer in indexing.probe_all(
            flags.root, paths, journal=known, workers=flags.workers, limit=flags.limit
        ):
            answers[path] = answer
            progress.advance(task)
    return {path: answers[path] for path in paths}


def _write_index(
    target: Path, listing: Listing, found: Found, answers: Mapping[str, VideoInfo | str]
) -> None:
    """The list and what goes beside it, and what the user should know of it."""
    infos = {path: answer for path, answer in answers.items() if isinstance(answer, VideoInfo)}
    bad = {path: answer for path, answer in answers.items() if isinstance(answer, str)}
    _write(target, indexing.as_csv(found, infos))
    _write_lines(target.with_suffix(".classes.txt"), listing.classes)
    lacking = {"missing": list(found.missing), "unreadable": [f"{path}: {bad[path]}" for path in bad]}
    for what, lines in lacking.items():
        file = target.with_suffix(f".{what}.txt")
        _write_lines(file, lines)
        if lines:
            warn(f"{len(lines)} videos {what}: {some(lines, 3)}; all in {file}")
    rows = sum(path in infos for path in found.paths.values())
    say(f"{target}: {rows} of {len(listing.entries)} videos, {len(listing.classes)} classes")


def _check(args: list[str]) -> int:
    flags = parse(CheckFlags(tyro.MISSING), args, prog="tanet data check")
    if flags.min_frames < 1:
        raise ValueError(f"--min-frames must be positive, not {flags.min_frames}")
    paths = _videos(flags)
    findings, bad, status = [], [], 0
    with bar() as progress:
        task = progress.add_task("checking", total=len(paths), note="")
        try:
            for finding in inspection.inspect_all(
                paths, workers=flags.workers, limit=flags.limit, min_frames=flags.min_frames
            ):
                findings.append(finding)
                bad += [] if finding.usable else [finding]
                progress.update(task, advance=1, note=f"{len(bad)} bad")
        except KeyboardInterrupt:
            status = fail(f"stopped after {len(findings)} of {len(paths)} videos", status=130)
    for each in (findings, bad):
        each.sort(key=lambda finding: finding.path)
    names = [_named(finding, flags) for finding in bad]
    if findings:
        _show(findings, dict(zip(names, bad, strict=True)))
    if flags.json:
        counts = Counter(finding.verdict for finding in findings)
        report = {
            "versions": versions(),
            "videos": len(paths),
            "checked": len(findings),
            "counts": dict(counts),
            "findings": [asdict(finding) for finding in findings],
        }
        _write(flags.json, json.dumps(report, indent=2, ensure_ascii=False))
    if flags.quarantine:
        _write_lines(flags.quarantine, names)
    return status or (1 if bad else 0)


def _videos(flags: CheckFlags) -> list[Path]:
    path = flags.videos
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    if path.is_file() and path.suffix.lower() not in VIDEO_SUFFIXES:
        return list(dict.fromkeys(videos_in(path, root=str(flags.root or ""))))
    if flags.root:
        raise ValueError("--root is the base of a list's paths, and no list is given")
    videos = [path] if path.is_file() else videos_under(path)
    if not videos:
        raise ValueError(f"{path}: no videos in this folder")
    return videos


def _named(finding: Finding, flags: CheckFlags) -> str:
    """The video as the quarantine list calls it: below ROOT, as --data.root is; else by its full path."""
    path, root = Path(finding.path), flags.videos if flags.videos.is_dir() else flags.root
    below = root is not None and path != root and path.is_relative_to(root)
    return path.relative_to(root).as_posix() if root is not None and below else str(path.absolute())


def _show(findings: Sequence[Finding], bad: Mapping[str, Finding]) -> None:
    counts = Counter(finding.verdict for finding in findings)
    say(
        ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
        + f" of {len(findings)} videos"
    )
    odd = [finding for finding in findings if finding.verdict == "odd"]
    for note, count in Counter(finding.cause for finding in odd).most_common(5):
        warn(f"{count} odd: {note}")
    if not bad:
        return
    table = Table(Column("video", overflow="fold"), Column("verdict", no_wrap=True), "cause")
    for name, finding in islice(bad.items(), ROWS):
        table.add_row(escape(name), finding.verdict, escape(finding.cause))
    out.print(table)
    if len(bad) > ROWS:
        say(f"and {len(bad) - ROWS} more: --json or --quarantine lists all")


def _write(path: Path, text: str) -> None:
    write_atomically(path, text.encode())


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    _write(path, "".join(f"{line}\n" for line in lines))

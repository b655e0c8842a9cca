"""The command `tanet data check ROOT|LIST`, which finds videos that cannot be decoded."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated

import tyro
from rich.markup import escape
from rich.table import Column, Table
from tyro.conf import Positional, arg

from tanet.cli.common import ListRoot, OptionalFile, parse, videos_at, write_lines
from tanet.cli.console import progress_bar
from tanet.cli.lines import fail, out, say, warn
from tanet.data.annotations import read_split
from tanet.data.class_folders import one_class
from tanet.data.find_videos import VIDEO_SUFFIXES
from tanet.data.tools import check as inspection
from tanet.data.tools.check import Finding
from tanet.errors import UserError
from tanet.recipes.recipe import Data
from tanet.runtime.device import available_cores
from tanet.runtime.files import check_outputs, json_bytes, name_below, versions, write_atomically

# The terminal shows at most this many bad videos. The files of --json and --quarantine list every bad video.
ROWS = 40


@dataclass(frozen=True)
class CheckFlags:
    """Decode every video completely and list the bad videos. The exit status is 1 if a video is bad.

    Examples:

      tanet data check videos/ --quarantine bad.txt --json report.json
      tanet train finetune --data.root videos --data.quarantine bad.txt

    A video is bad if it cannot be read, is truncated, empty or too short, has no video stream, or hangs or
    crashes the process that decodes it. A video is odd if it has a variable frame rate, a rotation, or an odd
    width or height. Odd videos are usable and are only mentioned.
    """

    videos: Annotated[Positional[Path], arg(metavar="ROOT|LIST")]
    """A folder of videos, a list of videos in a format that training reads, or one video."""
    root: ListRoot = None
    """With a list: folder that the paths in the list are relative to."""
    json: OptionalFile = None
    """JSON file to write the findings on all videos to."""
    quarantine: OptionalFile = None
    """File to write the names of bad videos to. With --data.quarantine FILE, training skips these videos."""
    min_frames: int = 8
    """Minimum number of frames. A video with fewer frames is reported as short."""
    workers: int = field(default_factory=available_cores)
    """Number of decoding processes."""
    limit: float = 10.0
    """Time limit for each video, in seconds. A video that takes longer is reported as hanging."""


def run(args: list[str]) -> int:
    """Run `tanet data check` and return its exit status, which is 1 if a video is bad."""
    flags = parse(CheckFlags(tyro.MISSING), args, prog="tanet data check", usage="tanet data check ROOT|LIST")
    if flags.min_frames < 1:
        raise UserError(f"--min-frames must be positive, not {flags.min_frames}")
    check_outputs(flags.json, flags.quarantine)
    paths = videos_at(flags.videos, flags.root)
    findings, bad, status = [], [], 0
    with progress_bar("checking", total=len(paths)) as progress:
        try:
            for finding in inspection.check_videos(
                paths, workers=flags.workers, limit=flags.limit, min_frames=flags.min_frames
            ):
                findings.append(finding)
                bad += [] if finding.usable else [finding]
                progress.advance(note=f"{len(bad)} bad")
        except KeyboardInterrupt:
            status = fail(f"stopped after {len(findings)} of {len(paths)} videos", status=130)
    for each in (findings, bad):
        each.sort(key=lambda finding: finding.path)
    names = [_named(finding, flags) for finding in bad]
    if findings:
        _show(findings, dict(zip(names, bad, strict=True)))
    _tell_training(flags)
    if flags.json:
        counts = Counter(finding.verdict for finding in findings)
        report = {
            "versions": versions(),
            "videos": len(paths),
            "checked": len(findings),
            "counts": dict(counts),
            "findings": [asdict(finding) for finding in findings],
        }
        write_atomically(flags.json, json_bytes(report, indent=2))
    if flags.quarantine:
        write_lines(flags.quarantine, names)
    return status or (1 if bad else 0)


def _tell_training(flags: CheckFlags) -> None:
    """Say what training would say about the folder or list: that it refuses it, or what it leaves out."""
    path = flags.videos
    if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
        return
    root = str(flags.root or "")
    try:
        split = read_split(Data(root=str(path)) if path.is_dir() else Data(root=root, train=str(path)))
    except UserError as error:
        warn(f"training would refuse these videos: {error}")
        return
    for warning in split.warnings:
        warn(warning)
    if len(split.classes) < 2:
        warn(f"training would refuse these videos: {one_class(path, ', '.join(split.classes))}")


def _named(finding: Finding, flags: CheckFlags) -> str:
    """Return the name of a video for the quarantine list.

    The name is the path relative to the root folder, or the absolute path if that folder is unknown or does
    not contain the video.
    """
    root = flags.videos if flags.videos.is_dir() else flags.root
    return name_below(finding.path, root) or str(Path(finding.path).absolute())


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
        say(f"and {len(bad) - ROWS} more: --json FILE or --quarantine FILE lists all")

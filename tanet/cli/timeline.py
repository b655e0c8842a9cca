"""The command `tanet timeline CHECKPOINT VIDEO …`, which finds what happens when in long videos."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, get_args

from tyro.conf import arg

from tanet.cli.common import CheckpointPath, Device, OptionalFile, load_checkpoint, parse
from tanet.cli.console import progress_bar
from tanet.cli.lines import fail, out, say, warn
from tanet.cli.video_words import videos_of
from tanet.cli.window_flags import Length, SomeVideos, span
from tanet.errors import UserError
from tanet.inference.cut_clips import cut_clips
from tanet.inference.segment_files import ONE_VIDEO, Format, clock, write_segments
from tanet.inference.timeline import Rules, Timeline, timeline
from tanet.inference.video_names import names_of
from tanet.inference.windows import default_window
from tanet.recipes.recipe import Eval
from tanet.runtime.files import check_outputs, write_atomically
from tanet.video import VideoError, open_video
from tanet.video.excerpt import split_part
from tanet.visualization.timeline_figure import check_picture, draw_timeline

USAGE = "tanet timeline CHECKPOINT VIDEO …"


@dataclass(frozen=True)
class TimelineFlags:
    """Find what happens when in long videos, with a network that was trained on short ones.

    Examples:

      tanet timeline best.safetensors match.mp4
      tanet timeline best.safetensors match.mp4 --window 2s --hop 0.5s --out match.vtt
      tanet timeline best.safetensors videos/ --out found.json --clips cut/

    Windows over the video are scored in one pass, with little memory. Scores of overlapping windows are
    averaged. Borders are rough: at best, they are right within a hop.
    """

    checkpoint: CheckpointPath = ""
    """Checkpoint, name of published weights, or hf://user/name."""
    videos: SomeVideos = ()
    """Video files, folders, patterns in quotes, and text files with one path a line."""
    window: Length = None
    """Length of a window: frames (16) or seconds (2s). Default: as in training; 2s for networks that were
    trained on whole videos."""
    hop: Length = None
    """Distance between two windows. Default: half a window."""
    margin: float = 0.1
    """How far another label's probability must lead before the label changes."""
    shortest: float = 0.0
    """Minimum length in seconds. Shorter segments are merged into the more probable neighbour. 0: half a
    window."""
    threshold: float = 0.0
    """Leave out segments with a lower mean probability."""
    top: int = 0
    """Show and write only this many segments of each video, those with the highest probability. 0: all."""
    out: OptionalFile = None
    """File to write: .json (ActivityNet), .csv, .vtt, .srt or .eaf (ELAN)."""
    clips: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder for one video file per segment, cut without encoding again. A clip starts at the key frame
    before its segment."""
    picture: OptionalFile = None
    """Picture of one video to draw: frames, scores and segments over time (.png, .pdf, .svg)."""
    eval: Eval = Eval()
    device: Device = "auto"
    """Device to run on; auto uses a GPU if there is one."""


def run(args: list[str]) -> int:
    """Run `tanet timeline CHECKPOINT VIDEO …` and return the exit status, 2 if a video is unreadable."""
    flags = parse(TimelineFlags(), args, prog="tanet timeline", usage=USAGE)
    if not flags.checkpoint or not flags.videos:
        raise UserError(f"usage: {USAGE} (see `tanet timeline --help`)")
    rules = Rules(flags.margin, flags.shortest, flags.threshold)
    window, hop = span(flags.window), span(flags.hop)
    files, failures = videos_of(flags.videos)
    files = list(dict.fromkeys(files))
    kind = _kind(flags, files)
    check_outputs(flags.picture, flags.out)
    model = load_checkpoint(flags.checkpoint, flags.device)
    eval = parse(TimelineFlags(eval=model.recipe.eval), args, prog="tanet timeline").eval
    if window is None and model.recipe.data.sampling == "uniform":
        warn(f"window {default_window(model.recipe)}: the network was trained on whole videos; set --window")
    found: list[Timeline] = []
    try:
        with progress_bar("reading", total=len(files)) as progress:
            for file in files:
                try:
                    with open_video(file, keep_packets=False) as video:
                        one = timeline(video, model, window=window, hop=hop, rules=rules, eval=eval)
                except VideoError as error:
                    failures += 1
                    with progress.aside():
                        fail(str(error))
                else:
                    found.append(_top(one, flags.top))
                    with progress.aside():
                        _show(found[-1], many=len(files) > 1)
                        _write_clips(found[-1], flags.clips)
                progress.advance()
    finally:
        if flags.out and kind and found:
            write_atomically(flags.out, write_segments(kind, found))
            say(f"segments: {flags.out}")
    if flags.picture and found:
        _draw(found[0], flags.picture)
    return 2 if failures else 0


def _kind(flags: TimelineFlags, files: Sequence[Path]) -> Format | None:
    """Return the format of the file to write. Check it before any video is read."""
    if flags.top < 0:
        raise UserError(f"--top must be 0 or more, not {flags.top}")
    if flags.picture:
        check_picture(flags.picture)
    if flags.clips or (flags.out and flags.out.suffix.lower() == ".json"):
        names_of(files)
    if flags.picture and len(files) != 1:
        raise UserError(f"--picture draws one video, but {len(files)} are given")
    if flags.out is None:
        return None
    kinds = {f".{kind}": kind for kind in get_args(Format)}
    kind = kinds.get(flags.out.suffix.lower())
    if kind is None:
        raise UserError(f"{flags.out}: the name must end in {', '.join(kinds)}")
    if kind in ONE_VIDEO and len(files) != 1:
        raise UserError(
            f"{flags.out}: a .{kind} file is for one video, but {len(files)} are given: use .json or .csv"
        )
    return kind


def _top(found: Timeline, count: int) -> Timeline:
    """Keep the segments with the highest probabilities, in the order of time."""
    if not count:
        return found
    best = sorted(found.segments, key=lambda segment: -segment.score)[:count]
    return replace(found, segments=tuple(sorted(best, key=lambda segment: segment.start)))


def _show(found: Timeline, *, many: bool) -> None:
    if many:
        say(f"{found.video}")
    if found.note:
        warn(f"{found.video}: {found.note}")
    for segment in found.segments:
        out.print(
            f"{clock(segment.start)} – {clock(segment.end)}  {segment.score:6.1%}  {segment.label}",
            markup=False,
            soft_wrap=True,
        )


def _write_clips(found: Timeline, folder: Path | None) -> None:
    if folder is None:
        return
    for note in cut_clips(Path(found.video), found.segments, folder):
        warn(note)


def _draw(found: Timeline, path: Path) -> None:
    spans = [(segment.start, segment.end, segment.label) for segment in found.segments]
    with open_video(split_part(found.video)[0]) as video:
        draw_timeline(path, video, edges=found.edges, scores=found.scores, classes=found.classes, spans=spans)
    say(f"picture: {path}")

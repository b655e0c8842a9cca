"""The command `tanet features CHECKPOINT VIDEO … --out DIR`, which writes features of long videos."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.cli.common import CheckpointPath, Device, find_checkpoint, load_checkpoint, parse, write_lines
from tanet.cli.console import progress_bar
from tanet.cli.lines import fail, say, warn
from tanet.cli.video_words import videos_of
from tanet.cli.window_flags import Length, SomeVideos, span
from tanet.errors import UserError
from tanet.inference.feature_files import is_done, snippets, write_features
from tanet.inference.features import extract
from tanet.inference.video_names import names_of
from tanet.inference.windows import Span, default_window
from tanet.recipes.recipe import Eval
from tanet.runtime.device import available_cores
from tanet.video import VideoError, open_video

USAGE = "tanet features CHECKPOINT VIDEO … --out DIR"
BAD = "errors.txt"


@dataclass(frozen=True)
class FeaturesFlags:
    """Write features of videos, for detectors of actions in time such as ActionFormer and OpenTAD.

    Examples:

      tanet features i3d-k400 videos/ --out features --window 16 --stride 4
      tanet features best.safetensors match.mp4 --out features --window 2s --stride 0.5s

    A video gets DIR/NAME.npy, [N, C]: one row for each window over the video, with the input of the
    classifier. DIR/NAME.json states the frame rate, the windows, the time of each row and the checkpoint.
    You can stop the command at any time. Run the command again to continue.
    """

    checkpoint: CheckpointPath = ""
    """Checkpoint, name of published weights, or hf://user/name."""
    videos: SomeVideos = ()
    """Video files, folders, patterns in quotes, and text files with one path a line."""
    out: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="(required)")] = None
    """Folder to write to."""
    window: Length = None
    """Length of a window: frames (16) or seconds (2s). Default: as in training; 2s for networks that were
    trained on whole videos."""
    stride: Length = None
    """Distance between two windows. Default: the window's length."""
    crops: Literal["mean", "each"] = "mean"
    """With several crops (--eval.crops): the mean of their features, or each, [N, crops, C]."""
    dtype: Literal["float32", "float16"] = "float32"
    """Type of the numbers."""
    workers: int = field(default_factory=lambda: min(8, available_cores()))
    """Number of videos that are decoded at once."""
    eval: Eval = Eval()
    device: Device = "auto"
    """Device to run on; auto uses a GPU if there is one."""


def run(args: list[str]) -> int:
    """Run `tanet features …` and return the exit status, 2 if a video is unreadable."""
    flags = parse(FeaturesFlags(), args, prog="tanet features", usage=USAGE)
    if not flags.checkpoint or not flags.videos or flags.out is None:
        raise UserError(f"usage: {USAGE} (see `tanet features --help`)")
    if flags.workers < 1:
        raise UserError(f"--workers must be positive, not {flags.workers}")
    files, failures = videos_of(flags.videos)
    files = list(dict.fromkeys(files))
    path = find_checkpoint(flags.checkpoint)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    model = load_checkpoint(path, flags.device)
    eval = parse(FeaturesFlags(eval=model.recipe.eval), args, prog="tanet features").eval
    window = span(flags.window) or default_window(model.recipe)
    stride = span(flags.stride) or window
    if flags.window is None and model.recipe.data.sampling == "uniform":
        warn(f"window {window}: the network was trained on whole videos; set --window")
    settings = {
        "checkpoint": str(flags.checkpoint),
        "sha256": digest,
        "window": str(window),
        "stride": str(stride),
        "crops": eval.crops,
        "mean_over_crops": flags.crops == "mean",
        "resize": eval.resize,
        "size": eval.size,
        "dtype": flags.dtype,
    }
    names = names_of(files)
    work = _worker(flags.out, model, window, stride, eval, settings, names)
    bad: list[str] = []
    channels = 0
    with progress_bar("features", total=len(files)) as progress, ThreadPoolExecutor(flags.workers) as pool:
        jobs = {pool.submit(work, file): file for file in files}
        try:
            for job in as_completed(jobs):
                try:
                    channels, note = job.result()
                    if note:
                        warn(f"{jobs[job]}: {note}")
                except VideoError as error:
                    bad.append(str(error))
                    with progress.aside():
                        fail(str(error))
                progress.advance(note=f"{len(bad)} bad")
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            return fail("stopped; run the same command again to continue", status=130)
    if bad:
        write_lines(flags.out / BAD, bad)
    say(f"{flags.out}: features of {len(files) - len(bad)} of {len(files)} videos")
    if channels:
        for file in snippets(flags.out, window=window, stride=stride, channels=channels):
            say(f"settings for {file.stem}: {file}")
    return 2 if failures or bad else 0


def _worker(
    out: Path,
    model: Checkpoint,
    window: Span,
    stride: Span,
    eval: Eval,
    settings: dict[str, Any],
    names: dict[str, str],
) -> Callable[[Path], tuple[int, str]]:
    """Return the function that writes the features of one video. It returns C and a note."""

    def work(file: Path) -> tuple[int, str]:
        name = names[str(file)]
        if channels := is_done(out, name, settings):
            return channels, ""
        with open_video(file, keep_packets=False) as video:
            found = extract(
                video,
                model,
                window=window,
                stride=stride,
                eval=eval,
                mean_over_crops=settings["mean_over_crops"],
            )
        write_features(out, name, found, settings=settings, video=str(file))
        return found.values.shape[-1], found.note

    return work

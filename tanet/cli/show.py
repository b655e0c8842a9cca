"""The command `tanet show CHECKPOINT VIDEO|DATA`, which draws the gates and kernels of TAM."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import Positional, arg

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.cli.common import CheckpointPath, Device, load_checkpoint, parse
from tanet.cli.console import progress_bar
from tanet.cli.lines import fail, say
from tanet.data.annotations import read_split, read_test_samples
from tanet.data.find_videos import find_videos
from tanet.data.samples import Sample, spread_over_classes
from tanet.errors import UserError
from tanet.recipes.recipe import Data
from tanet.runtime.files import check_outputs
from tanet.video import VideoError
from tanet.visualization import captions, figures
from tanet.visualization.fixed_kernels import fixed_kernels, name_of_kernels
from tanet.visualization.pair_figure import Recorded, pair_caption, pair_figure
from tanet.visualization.record import (
    RecordedClip,
    is_adaptive,
    last_sites,
    record_clip,
    require_adaptive,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Stages in the figures of many clips. The paper shows the same stages.
STAGES = ("res4", "res5")


@dataclass(frozen=True)
class ShowFlags:
    """Draw the gates and kernels of TAM for one video, or for many videos.

    Examples:

      tanet show best.safetensors jump.mp4 --out jump.svg
      tanet show best.safetensors videos/ --against i3d.safetensors
      tanet show a.safetensors videos/ --against b.safetensors --against-data more/

    For one video, the picture shows the frames. The gates of each stage's last block are drawn below the
    frames, and the kernels to the right of the gates.

    For a folder of videos by class (or its subfolder val/, if there is one), three pictures show the kernels
    and gates as Figures 4 to 8 of the paper do. The names of the pictures end in -kernels, -gates and
    -motion.

    Drawing needs matplotlib: pip install 'tanet[plots]'.
    """

    checkpoint: CheckpointPath
    """Checkpoint written by `tanet train`. The network must contain TAM or one of the branches of TAM."""
    source: Annotated[Positional[Path], arg(metavar="VIDEO|DATA")]
    """A video, a folder of frame images, or a folder that contains a folder of videos for each class."""
    out: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="(default: show-NAME.png)")] = None
    """Picture to write. The name ends in .png, .pdf or .svg."""
    against: Annotated[str | None, arg(metavar="CHECKPOINT", help_behavior_hint="")] = None
    """With many videos: checkpoint to draw next to the first. One with fixed kernels (i3d, tconv, tei,
    tam-ibm, or a 3D network without TAM) gets columns among the kernels. One with TAM gets a picture of
    both, whose name ends in -pair. For a SlowFast, this must be a SlowFast, too."""
    against_data: Annotated[Path | None, arg(metavar="DATA", help_behavior_hint="(default: DATA)")] = None
    """With --against and TAM: folder of videos by class for the other checkpoint."""
    clips: int = 4
    """With many videos: number of clips to draw individually."""
    limit: int = 200
    """With many videos: maximum number of videos to use. They are spread evenly over the classes."""
    device: Device = "auto"
    """Device to run on; auto uses a GPU if there is one."""


def run(args: list[str]) -> int:
    """Run `tanet show CHECKPOINT VIDEO|DATA` and return the exit status, 2 if a video is unreadable."""
    flags = parse(
        ShowFlags(tyro.MISSING, tyro.MISSING),
        args,
        prog="tanet show",
        usage="tanet show CHECKPOINT VIDEO|DATA",
    )
    out = flags.out or Path(f"show-{flags.source.resolve().stem}.png")
    if out.suffix.lower() not in figures.SUFFIXES:
        raise UserError(f"{out}: the name of a picture must end in {', '.join(figures.SUFFIXES)}")
    check_outputs(out)
    if min(flags.clips, flags.limit) < 1:
        raise UserError(f"--clips and --limit must be positive, not {flags.clips} and {flags.limit}")
    for source in (flags.source, flags.against_data or flags.source):
        if not source.exists():
            raise UserError(f"{source}: no such file or folder")
    figures.require_plots()
    model = load_checkpoint(flags.checkpoint, flags.device)
    try:
        require_adaptive(model)
    except UserError as error:
        raise UserError(f"{flags.checkpoint}: {error}") from error
    if flags.source.is_dir() and find_videos(flags.source) != [flags.source]:
        return _many(flags, model, out)
    if flags.against or flags.against_data:
        raise UserError("--against works only with many videos: name a folder of videos by class")
    clip = record_clip(model, Sample(str(flags.source), 0))
    _save(figures.clip_figure(clip), captions.clip_caption(clip), out)
    return 0


def _many(flags: ShowFlags, model: Checkpoint, out: Path) -> int:
    """Draw the pictures of kernels, gates and motion for a folder of videos by class."""
    other = load_checkpoint(flags.against, flags.device) if flags.against else None
    fixed = other if other and not is_adaptive(other) else None
    if flags.against_data and (other is None or fixed):
        raise UserError("--against-data works only with --against and a checkpoint with TAM")
    kernels = fixed_kernels(fixed, stages=STAGES) if fixed else []
    against = name_of_kernels(fixed) if fixed else ""
    own = {site.stage for site in last_sites(model, stages=STAGES)}
    if fixed and not own & {kernel.stage for kernel in kernels}:
        theirs = ", ".join(kernel.stage for kernel in kernels)
        raise UserError(f"{flags.against}: has kernels in {theirs}, but TAM is in {', '.join(sorted(own))}")
    clips, failures = _watch_all(flags, model, flags.source)
    # Draw two clips of the first class and one clip of each further class, as in the paper's Figure 4.
    first = [clip for clip in clips if clip.truth == clips[0].truth][:2]
    others = {clip.truth: clip for clip in reversed(clips) if clip.truth != clips[0].truth}
    some = (first + sorted(others.values(), key=clips.index))[: flags.clips]
    name = out.with_suffix("")
    if clips[0].adaptations[0].kernel is None:
        say("the temporal module has a gate but no kernel: kernels are not drawn")
    else:
        _save(
            figures.kernel_figure(some, clips, kernels, against=against),
            captions.kernels_caption(clips, kernels, against=against),
            name.with_name(f"{name.name}-kernels{out.suffix}"),
        )
        _save(
            figures.motion_figure(clips),
            captions.motion_caption(clips),
            name.with_name(f"{name.name}-motion{out.suffix}"),
        )
    if other and not fixed:
        more, failed = _watch_all(flags, other, flags.against_data or flags.source)
        failures += failed
        first, second = pair_names(flags)
        pair = Recorded(first, clips), Recorded(second, more)
        pair_name = name.with_name(f"{name.name}-pair{out.suffix}")
        _save(pair_figure(*pair), pair_caption(*pair), pair_name)
    _save(
        figures.gate_figure(some),
        captions.gates_caption(some),
        name.with_name(f"{name.name}-gates{out.suffix}"),
    )
    return 2 if failures else 0


def pair_names(flags: ShowFlags) -> tuple[str, str]:
    """Return short names that tell two networks apart: of their files, folders or videos."""
    files = Path(flags.checkpoint), Path(str(flags.against))
    videos = flags.source, flags.against_data or flags.source
    names = [
        (files[0].stem, files[1].stem),
        (files[0].absolute().parent.name, files[1].absolute().parent.name),
        (videos[0].absolute().name, videos[1].absolute().name),
    ]
    return next((pair for pair in names if pair[0] != pair[1]), names[0])


def _watch_all(flags: ShowFlags, model: Checkpoint, root: Path) -> tuple[list[RecordedClip], int]:
    """Record the gates and kernels for one clip of each readable video in a folder.

    Returns:
        The recorded clips, and the number of videos that could not be read.
    """
    data = Data(root=str(root))
    classes = read_split(data).classes
    samples = spread_over_classes(read_test_samples(data, classes=classes), limit=flags.limit)
    clips = []
    with progress_bar("recording", total=len(samples)) as progress:
        for sample in samples:
            try:
                clips.append(record_clip(model, sample, truth=classes[sample.label], stages=STAGES))
            except VideoError as error:
                fail(str(error))
            progress.advance()
    if not clips:
        raise UserError(f"{root}: none of the {len(samples)} videos can be read")
    return clips, len(samples) - len(clips)


def _save(figure: "Figure", caption: str, path: Path) -> None:
    replaced = " (replaced an existing file)" if path.exists() else ""
    figure.savefig(path)
    say(f"{path}{replaced}: {caption}")

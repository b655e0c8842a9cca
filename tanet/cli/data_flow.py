"""The command `tanet data flow ROOT|LIST OUT`, which computes optical flow."""

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

from tanet.cli.common import ListRoot, OptionalFile, parse, videos_at, write_lines
from tanet.cli.console import progress_bar
from tanet.cli.lines import fail, say, warn
from tanet.data.optical_flow import Method
from tanet.data.tools.flow import FlowSettings, Layout, write_flow
from tanet.errors import UserError
from tanet.runtime.device import available_cores
from tanet.runtime.files import check_outputs, name_below


@dataclass(frozen=True)
class FlowFlags:
    """Compute the optical flow of videos, and write it as folders of pictures.

    Examples:

      tanet data flow videos/ flow/
      tanet data flow videos/ flow/ --method tvl1 --layout rgb

    Needs OpenCV: pip install 'tanet[flow]'. videos/train/jump/1.mp4 gets the folder flow/train/jump/1. A byte
    stands for -20 to 20 pixels per frame. Unreadable videos are reported and left out. You can stop the
    command at any time. Run the command again to continue; only the videos in work are computed again.
    """

    videos: Annotated[Positional[Path], arg(metavar="ROOT|LIST")]
    """Folder of videos, a list of videos in a format that training reads, or one video."""
    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder to write to."""
    root: ListRoot = None
    """With a list: folder that the paths in the list are relative to."""
    method: Method = "dis"
    """dis is fast. tvl1 is what published networks were trained on, and about 100 times slower. farneback is
    TSN's alternative."""
    layout: Layout = "xy"
    """xy: two grey pictures per flow, flow_x_00001.jpg and flow_y_00001.jpg. rgb: one picture with x in red
    and y in green."""
    size: tuple[int, int] = (340, 256)
    """Width and height to which frames are resized first, in pixels. 0 0 keeps their size."""
    quality: int = 95
    """JPEG quality, 1 to 100."""
    bad: OptionalFile = None
    """File to write the names of videos without flow to. With --data.quarantine FILE, training skips them."""
    workers: int = field(default_factory=available_cores)
    """Number of processes."""
    limit: float = 3600.0
    """Time limit for each video, in seconds. A video that takes longer is left out."""


def run(args: list[str]) -> int:
    """Run `tanet data flow …`. The exit status is 1 if a video has no flow."""
    flags = parse(
        FlowFlags(tyro.MISSING, tyro.MISSING),
        args,
        prog="tanet data flow",
        usage="tanet data flow ROOT|LIST OUT",
    )
    check_outputs(flags.bad)
    settings = FlowSettings(flags.method, flags.layout, *flags.size, flags.quality)
    videos = videos_at(flags.videos, flags.root)
    root = flags.videos if flags.videos.is_dir() else flags.root or flags.videos.parent
    if flags.out.exists() and not flags.out.is_dir():
        raise UserError(f"{flags.out}: a file; name a folder to write to")
    if flags.out.absolute().is_relative_to(root.absolute()):
        raise UserError(
            f"{flags.out}: lies in {root}, so its pictures would be taken for videos: choose another OUT"
        )
    flow = write_flow(
        videos, root=root, out=flags.out, settings=settings, workers=flags.workers, limit=flags.limit
    )
    bad: list[Path] = []
    try:
        with progress_bar("computing flow", total=len(videos)) as progress, closing(flow):
            for video, cause in flow:
                if cause is not None:
                    bad.append(video)
                    warn(f"left out: {video}: {cause}")
                progress.advance(note=f"{len(bad)} bad")
    except KeyboardInterrupt:
        return fail("stopped; run the same command again to continue", status=130)
    finally:
        if flags.bad:
            write_lines(flags.bad, [name_below(video, root) or str(video.absolute()) for video in bad])
    say(f"{flags.out}: flow of {len(videos) - len(bad)} of {len(videos)} videos")
    return 1 if bad else 0

"""The command `tanet demo`, which trains and tests two networks on synthetic videos."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tanet.cli.common import OptionalFile, parse
from tanet.cli.console import DownloadScreen, TrainingScreen
from tanet.cli.lines import say
from tanet.demo import run as demo
from tanet.demo.real_video import label_real_video


@dataclass(frozen=True)
class DemoFlags:
    """Train and test TANet and a plain 2D network on synthetic videos, and write a report.

    The classes of the videos differ only in the order of the frames. At the end, published weights label a
    real video. The demo takes a few minutes.
    """

    out: Path = Path("demo")
    """Folder for videos, checkpoints and report.html. An earlier demo in this folder is replaced."""
    video: OptionalFile = None
    """Real video to label at the end. Default: a clip in TANET_DATA, or else a synthetic video."""
    device: Annotated[str, tyro.conf.arg(metavar="{auto,cpu,cuda,…}")] = "auto"
    """Device to train and test on; auto uses a GPU if there is one."""


def run(args: list[str]) -> int:
    """Run `tanet demo`."""
    flags = parse(DemoFlags(), args, prog="tanet demo")
    page = demo.run_demo(flags.out, device=flags.device, watch=TrainingScreen, say=say)
    say("")
    with DownloadScreen() as screen:
        lines = label_real_video(flags.video, out=flags.out, device=flags.device, on_event=screen.show_event)
    for line in lines:
        say(line)
    say(f"\nreport: {page}")
    return 0

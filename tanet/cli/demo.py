"""The command `tanet demo`, which trains and tests two networks on synthetic videos."""

from dataclasses import dataclass
from pathlib import Path

from tanet.cli.common import Device, parse
from tanet.cli.console import TrainingScreen, say
from tanet.demo import run as demo


@dataclass(frozen=True)
class DemoFlags:
    """Train and test TANet and a plain 2D network on synthetic videos, and write a report.

    The classes of the videos differ only in the order of the frames. The demo takes a few minutes.
    """

    out: Path = Path("demo")
    """Folder for videos, checkpoints and report.html. An earlier demo in this folder is replaced."""
    device: Device = "auto"
    """Device to train and test on; auto uses a GPU if there is one."""


def run(args: list[str]) -> int:
    """Run `tanet demo`."""
    flags = parse(DemoFlags(), args, prog="tanet demo")
    page = demo.run_demo(flags.out, device=flags.device, watch=TrainingScreen, say=say)
    say(f"\nreport: {page}")
    return 0

"""`tanet demo`."""

from dataclasses import dataclass
from pathlib import Path

from tanet.cli.common import Device, parse
from tanet.cli.console import TrainingScreen, say
from tanet.demo import run as demo


@dataclass(frozen=True)
class DemoFlags:
    """Make videos that differ only in the order of their frames, train TANet and the plain 2D network on
    them, test both, and write a report. Takes a few minutes."""

    out: Path = Path("demo")
    """Folder for videos, checkpoints and report.html. An earlier demo in it is replaced."""
    device: Device = "auto"
    """Device to train and test on; auto uses a GPU if there is one."""


def run(args: list[str]) -> int:
    """Run `tanet demo`."""
    flags = parse(DemoFlags(), args, prog="tanet demo")
    page = demo.run_demo(flags.out, device=flags.device, watch=TrainingScreen, say=say)
    say(f"\nreport: {page}")
    return 0

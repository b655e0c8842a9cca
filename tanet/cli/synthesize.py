"""The command `tanet synthesize OUT`, which makes a synthetic data set."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

from tanet.cli.common import parse
from tanet.cli.console import progress_bar
from tanet.cli.lines import say
from tanet.errors import UserError
from tanet.runtime.device import available_cores
from tanet.runtime.files import write_atomically
from tanet.runtime.interrupt import exit_on_sigterm
from tanet.synthetic import DESCRIPTION, HARD, VERBS, Difficulty, make_dataset


@dataclass(frozen=True)
class SynthesizeFlags:
    r"""Make synthetic videos whose classes differ only in the order of the frames.

    Examples:

      tanet synthesize verbs
      tanet synthesize easy --videos 800 --val 200 \
          --camera 0.03 --tempo 0 --activity 0 --distractors 0

    Each class is a verb: the action that one object in the video performs, such as move_left. There are ten
    verbs in five pairs. The second verb of a pair is the first verb played backwards. The videos
    OUT/{train,val}/VERB/00000.mp4 and so on are h264 files of 24 to 48 frames. The same flags always give the
    same videos.

    Further flags set the difficulty. At any difficulty, a network that ignores the order of the frames can
    only guess between the two verbs of a pair, so half of its guesses are wrong.
    """

    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder for the videos. The folder must be new or empty."""
    videos: int = 2000
    """Total number of training videos. It must be a multiple of ten, because there are ten classes."""
    val: int = 500
    """Total number of validation videos. It must be a multiple of ten, because there are ten classes."""
    seed: int = 0
    """Seed of the random numbers."""
    height: int = 96
    """Height of the frames, in pixels. It must be even and at least 32."""
    width: int = 128
    """Width of the frames, in pixels. It must be even and at least 32."""
    dials: Annotated[Difficulty, arg(name="")] = HARD
    workers: int = field(default_factory=available_cores)
    """Number of processes. The videos do not depend on this number."""


def run(args: list[str]) -> int:
    """Run `tanet synthesize OUT`."""
    flags = parse(SynthesizeFlags(tyro.MISSING), args, prog="tanet synthesize", usage="tanet synthesize OUT")
    for name, count in (("videos", flags.videos), ("val", flags.val)):
        if count < 0 or count % len(VERBS):
            raise UserError(f"--{name} must be a multiple of {len(VERBS)} (number of classes), not {count}")
    if not flags.videos + flags.val:
        raise UserError("--videos and --val are both 0: increase one of them")
    if flags.workers < 1:
        raise UserError(f"--workers must be positive, not {flags.workers}")
    if (
        any((flags.out / part).is_dir() for part in ("train", "val"))
        and not (flags.out / DESCRIPTION).exists()
    ):
        raise UserError(
            f"{flags.out} is incomplete, perhaps because an earlier call was stopped: delete it, or choose "
            "another folder"
        )
    exit_on_sigterm()  # the worker processes then end, too
    with progress_bar("drawing", total=flags.videos + flags.val) as progress:
        make_dataset(
            flags.out,
            train=flags.videos // len(VERBS),
            val=flags.val // len(VERBS),
            seed=flags.seed,
            height=flags.height,
            width=flags.width,
            difficulty=flags.dials,
            workers=flags.workers,
            report=lambda done, _: progress.update(done),
        )
    about = dataclasses.asdict(flags) | {"out": flags.out.name}
    del about["workers"]
    write_atomically(flags.out / DESCRIPTION, json.dumps(about, indent=2).encode())
    say(f"{flags.out}: {flags.videos} training, {flags.val} validation videos; flags: {DESCRIPTION}")
    return 0

"""`tanet synthesize OUT`."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

from tanet.cli.common import parse
from tanet.cli.console import progress_bar, say
from tanet.errors import UserError
from tanet.runtime.device import available_cores
from tanet.runtime.files import write_atomically
from tanet.synthetic import HARD, VERBS, Difficulty, make_dataset


@dataclass(frozen=True)
class SynthesizeFlags:
    """Make a data set of videos that only the order of frames tells apart, as hard as you like.

      tanet synthesize verbs
      tanet synthesize easy --videos 800 --val 200 --camera 0.03 --tempo 0 --activity 0 --distractors 0

    Ten verbs in five pairs, of which one is the other played backwards: OUT/{train,val}/VERB/00000.mp4 …,
    clips of 24 to 48 frames, h264. The same flags make the same videos. Of a pair, a network that does not
    know the order of frames gets half, whatever the dials say.
    """

    out: Annotated[Positional[Path], arg(metavar="OUT")]
    """Folder for the videos; it must be empty, or new."""
    videos: int = 2000
    """Training videos, of all verbs together: a multiple of ten."""
    val: int = 500
    """Validation videos, likewise."""
    seed: int = 0
    """Of everything that is drawn."""
    height: int = 96
    """Of the frames, in pixels; even."""
    width: int = 128
    """Of the frames, in pixels; even."""
    dials: Annotated[Difficulty, arg(name="")] = HARD
    workers: int = field(default_factory=available_cores)
    """Processes that draw; the videos do not depend on it."""


def run(args: list[str]) -> int:
    """`tanet synthesize OUT`"""
    flags = parse(SynthesizeFlags(tyro.MISSING), args, prog="tanet synthesize", usage="tanet synthesize OUT")
    for name, count in (("videos", flags.videos), ("val", flags.val)):
        if count < 0 or count % len(VERBS):
            raise UserError(f"{name} must be a multiple of {len(VERBS)}, as many of each verb, not {count}")
    if not flags.videos + flags.val:
        raise UserError("neither --videos nor --val asks for any")
    if flags.workers < 1:
        raise UserError(f"workers must be positive, not {flags.workers}")
    with progress_bar() as progress:
        task = progress.add_task("drawing", total=flags.videos + flags.val, note="")
        make_dataset(
            flags.out,
            train=flags.videos // len(VERBS),
            val=flags.val // len(VERBS),
            seed=flags.seed,
            height=flags.height,
            width=flags.width,
            difficulty=flags.dials,
            workers=flags.workers,
            report=lambda done, _: progress.update(task, completed=done),
        )
    about = dataclasses.asdict(flags) | {"out": flags.out.name}
    del about["workers"]
    write_atomically(flags.out / "synthetic.json", json.dumps(about, indent=2).encode())
    say(f"{flags.out}: {flags.videos} training, {flags.val} validation videos; synthetic.json says how made")
    return 0

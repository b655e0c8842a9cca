"""`tanet test CHECKPOINT --data.root videos`."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from tanet import checkpoint as checkpoints
from tanet import evaluate
from tanet.annotation import read_test
from tanet.checkpoint import write_atomically
from tanet.cli.common import Device, load, parse
from tanet.recipe import Data, Eval
from tanet.screen import bar, show_accuracy


@dataclass(frozen=True)
class TestFlags:
    """Test a checkpoint on labelled videos: top-1, top-5 and mean-class accuracy."""

    checkpoint: tyro.conf.Positional[Path]
    """A file that `tanet train` wrote."""
    data: Data = Data()
    eval: Eval = Eval()
    json: Path | None = None
    """File for accuracies and the answer for each video."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""


def run(args: list[str]) -> int:
    """`tanet test CHECKPOINT …`"""
    flags = parse(TestFlags(Path()), args, prog="tanet test")
    trained = checkpoints.read_recipe(flags.checkpoint)
    # Once more, now that the checkpoint is known whose values are the defaults.
    flags = parse(TestFlags(Path(), trained.data, trained.eval), args, prog="tanet test")
    model = load(flags.checkpoint, flags.device)
    # Where training set a part aside, that part is tested; other videos are tested all.
    same = flags.data.root == trained.data.root
    samples = read_test(flags.data, classes=model.classes, seed=trained.seed if same else None)
    recipe = dataclasses.replace(trained, data=flags.data, eval=flags.eval)
    with bar() as progress:
        task = progress.add_task("testing", total=len(samples), note="")
        report = evaluate.test(
            model.network,
            samples,
            classes=model.classes,
            recipe=recipe,
            report=lambda done, _: progress.update(task, completed=done),
        )
    show_accuracy(report, flags.eval)
    if flags.json:
        write_atomically(flags.json, json.dumps(report.as_dict(), indent=2).encode())
    return 0

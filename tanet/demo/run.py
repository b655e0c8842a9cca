"""Demo of all of tanet: it makes videos, trains and tests two networks, and writes a report.

The demo takes a few minutes and writes these files and folders:

out/videos        synthetic videos: ten verbs, in pairs that differ only in the order of frames
out/tam           TANet
out/none          the same 2D network without temporal modules, trained with the same recipe
out/report.html   the comparison
"""

import dataclasses
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import torch

from tanet import synthetic
from tanet.checkpoints import checkpoint
from tanet.data.annotations import read_split
from tanet.demo import page
from tanet.errors import UserError
from tanet.evaluation import evaluate
from tanet.inference.predict import predict
from tanet.recipes.network2d import Network2D
from tanet.recipes.recipe import Recipe
from tanet.recipes.verbs import VERBS
from tanet.runtime.device import available_cores, pick_device
from tanet.training.trainer import Event, train

TRAIN, VAL = 80, 20  # clips per verb
# The videos are so easy that a small network learns the verbs in a few minutes.
# The camera moves and the speed of the object changes, but there is no second object.
# When the object turns, it points almost straight up halfway through the turn.
# If turns could start at any angle, a few minutes would not be enough to learn the direction of turns.
DIFFICULTY = synthetic.Difficulty(camera=0.03, speed=0.4, distractors=0, facing=0.1)


class Screen(Protocol):
    """Display that shows the progress of a training run."""

    def show(self, event: Event) -> None:
        """Show an event of the training run."""


def run_demo(
    out: Path,
    *,
    device: str,
    watch: Callable[[Recipe], AbstractContextManager[Screen]],
    say: Callable[[str], None],
) -> Path:
    """Run the demo and return the path of its report.

    Args:
        out: folder for all files. An earlier demo in this folder is replaced.
        device: device to train and test on.
        watch: returns a context manager that opens a screen for one training run.
        say: prints a line.

    Raises:
        UserError: `out` holds files that do not belong to an earlier demo.
    """
    target = pick_device(device)
    # Leave one core free for each decoding worker: sharing cores slows down the training of a small network.
    torch.set_num_threads(max(1, available_cores() - VERBS.data.workers))
    _clear(out)
    say(f"making {len(synthetic.VERBS) * (TRAIN + VAL)} videos in {out / 'videos'}")
    synthetic.make_dataset(
        out / "videos", train=TRAIN, val=VAL, height=72, width=96, difficulty=DIFFICULTY, workers=2
    )

    results = {}
    for temporal, name in page.COMPARED.items():
        recipe = _recipe(out / "videos", temporal)
        say(f"\ntraining {name}")
        with watch(recipe) as screen:
            best = train(recipe, out=out / temporal, device=target, on_event=screen.show)
        model = checkpoint.load(best, device=target)
        split = read_split(recipe.data, classes=model.classes)
        results[temporal] = evaluate.evaluate(
            model.network, split.val, classes=model.classes, recipe=model.recipe
        )
        answer = predict(split.val[0].path, model)
        say(f"{name}: top-1 {results[temporal].accuracy.top1:.1%}")
        say(f"{answer.video}: {answer.label} ({answer.score:.0%})")
    assert isinstance(VERBS.model, Network2D)
    return page.write_page(
        out / "report.html", results, backbone=VERBS.model.backbone, train=TRAIN * len(synthetic.VERBS)
    )


def _clear(out: Path) -> None:
    """Remove an earlier demo from `out`. Raise UserError if the folder holds files but no demo."""
    marker = out / ".tanet-demo"
    if out.exists() and any(out.iterdir()) and not marker.exists():
        raise UserError(f"{out} holds other files: choose a new folder with --out")
    for part in ("videos", *page.COMPARED):
        if (out / part).exists():
            shutil.rmtree(out / part)
    out.mkdir(parents=True, exist_ok=True)
    marker.touch()


def _recipe(videos: Path, temporal: str) -> Recipe:
    return dataclasses.replace(
        VERBS,
        data=dataclasses.replace(VERBS.data, root=str(videos)),
        model=dataclasses.replace(VERBS.model, temporal=temporal),
    )

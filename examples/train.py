"""Train on folders of videos, with a built-in recipe in which a few fields are changed.

python examples/train.py my_videos runs/mine
"""

import sys
from dataclasses import replace

import tanet
from tanet.recipes import RECIPES
from tanet.training.events import EpochResult

videos, out = sys.argv[1:]
# The sizes below are tiny, so that this example takes only seconds.
base = RECIPES["verbs"]
recipe = replace(
    base,
    data=replace(base.data, root=videos, size=32, workers=0),
    model=replace(base.model, temporal="tsm", frames=4),
    optim=replace(base.optim, epochs=2, warmup=0.0, batch=4),
    eval=replace(base.eval, size=32, resize=32),
)


def show(event: object) -> None:
    """Print a line for each epoch. Ignore other events: the plan, progress, notes, unreadable videos."""
    if isinstance(event, EpochResult):
        print(f"epoch {event.epoch}: loss {event.train_loss:.3f}, training top-1 {event.train_top1:.1%}")


best = tanet.train(recipe, out=out, on_event=show)
print(f"best checkpoint: {best}")

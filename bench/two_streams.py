"""Compare RGB frames, optical flow and both streams on synthetic verbs.

    python -m bench two_streams [--temporal none tsm tam] [--seeds 0 1 2]

Flow is computed by DIS at the size of the videos. For each temporal module and seed, the recipe `verbs`
trains one network on frames and one on 5 successive flows per frame. The checkpoints after the last epoch
are tested, and their probabilities are averaged with equal weights. For comparison, `two_rgb` averages the
RGB networks of this seed and the next.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tanet import synthetic, train
from tanet.checkpoints import checkpoint
from tanet.data.annotations import read_split
from tanet.data.find_videos import find_videos
from tanet.data.tools.flow import FlowSettings, write_flow
from tanet.evaluation import metrics
from tanet.evaluation.evaluate import evaluate
from tanet.evaluation.report import Report
from tanet.recipes.recipe import Recipe
from tanet.recipes.verbs import VERBS
from tanet.runtime.device import available_cores, pick_device

KEY = ("temporal", "seed", "machine")
FLOWS = 5
ACTIONS = synthetic.VERBS
CORES = available_cores()


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--temporal", nargs="+", default=["none", "tsm", "tam"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--train", type=int, default=80, help="training videos per verb")
    parser.add_argument("--val", type=int, default=40, help="test videos per verb")
    parser.add_argument("--epochs", type=int, default=VERBS.optim.epochs)
    parser.add_argument("--workers", type=int, default=min(8, available_cores()))


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    with tempfile.TemporaryDirectory() as folder:
        videos, flow = Path(folder) / "videos", Path(folder) / "flow"
        synthetic.make_dataset(videos, train=flags.train, val=flags.val, verbs=ACTIONS, workers=CORES)
        settings = FlowSettings(method="dis", width=0, height=0)
        done = write_flow(
            find_videos(videos), root=videos, out=flow, settings=settings, workers=CORES, limit=600
        )
        assert all(cause is None for _, cause in done)
        for temporal in flags.temporal:
            reports: dict[tuple[str, int], Report] = {}
            for seed in flags.seeds:
                for stream, flows in (("rgb", 0), ("flow", FLOWS)):
                    recipe = recipe_of(flags, videos, flow, temporal=temporal, flows=flows, seed=seed)
                    reports[stream, seed] = measure(recipe, Path(folder) / f"{stream} {temporal} {seed}")
            for seed, other in zip(flags.seeds, [*flags.seeds[1:], *flags.seeds[:1]], strict=True):
                rgb, only_flow = reports["rgb", seed], reports["flow", seed]
                yield {
                    "temporal": temporal,
                    "seed": seed,
                    "train": flags.train,
                    "videos": len(rgb.samples),
                    "rgb": round(rgb.accuracy.top1, 4),
                    "flow": round(only_flow.accuracy.top1, 4),
                    "both": together(rgb, only_flow),
                    "two_rgb": together(rgb, reports["rgb", other]) if other != seed else "",
                }


def together(one: Report, other: Report) -> float:
    """Return the top-1 accuracy of two networks whose probabilities are averaged."""
    return round(metrics.accuracy((one.scores + other.scores) / 2, one.labels).top1, 4)


def recipe_of(
    flags: argparse.Namespace, videos: Path, flow: Path, *, temporal: str, flows: int, seed: int
) -> Recipe:
    data = replace(VERBS.data, root=str(videos), flow=str(flow), workers=flags.workers)
    model = replace(VERBS.model, temporal=temporal, flows=flows)  # type: ignore[call-arg]
    optim = replace(VERBS.optim, epochs=flags.epochs, warmup=min(VERBS.optim.warmup, flags.epochs / 2))
    return Recipe(data, model, optim, VERBS.eval, seed)


def measure(recipe: Recipe, out: Path) -> Report:
    """Train a network and return the report of its test after the last epoch."""
    train(recipe, out=out)
    last = checkpoint.load(out / "last.safetensors", device=pick_device())
    samples = read_split(recipe.data, classes=last.classes).val
    return evaluate(last.network, samples, classes=last.classes, recipe=recipe)

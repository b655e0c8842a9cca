"""One training of a comparison, and its results: the columns of a row of results/compare.csv."""

import gc
import tempfile
from pathlib import Path

import torch

from projects.compare.cases import actions_of
from projects.compare.decoded_cache import capture_passes
from tanet.checkpoints import checkpoint
from tanet.data.annotations import read_split
from tanet.data.samples import Split
from tanet.evaluation import evaluate
from tanet.evaluation.report import Report
from tanet.models.network import Network
from tanet.models.temporal.tam import TAM
from tanet.models.temporal.tam_ablations import GlobalBranch
from tanet.recipes.recipe import Recipe
from tanet.runtime.device import pick_device
from tanet.training.trainer import EpochResult, train


def run(recipe: Recipe, *, graph: bool, each_clip: bool = False, ablate: bool = False) -> dict[str, object]:
    """Train a network, test it after its last epoch, and return the results.

    Args:
        recipe: what to train.
        graph: whether to use CUDA graphs, if there is a GPU.
        each_clip: whether to return for each test video in order whether the answer was right, 1 or 0.
        ablate: whether to test also without TAM's kernel priors P, and without its branches G.
    """
    split = split_of(recipe)
    results: list[EpochResult] = []

    def keep(event: object) -> None:
        if isinstance(event, EpochResult):
            results.append(event)

    def capture(network: Network) -> None:
        if graph and torch.cuda.is_available():
            capture_passes(network, recipe.optim, size=recipe.data.size)

    with tempfile.TemporaryDirectory() as out:
        train(recipe, out=out, on_event=keep, on_network=capture)
        gc.collect()  # a captured network refers to itself, so reference counting does not free its memory
        trained = checkpoint.load(Path(out) / "last.safetensors", device=pick_device())
        report = evaluate.evaluate(trained.network, split.val, classes=split.classes, recipe=recipe)
        without = without_parts(trained.network, split, recipe) if ablate else {}
    last = results[-1]
    assert last.val_top1 is not None  # the last epoch is always validated
    return {
        "backbone": getattr(recipe.model, "backbone", recipe.model.title),
        "classes": len(split.classes),
        "epochs": last.epoch,
        "train_top1": round(last.train_top1, 4),
        "val_top1_one_view": round(last.val_top1, 4),
        "views": f"{recipe.eval.clips} x {recipe.eval.crops}",
        "val_top1": round(report.accuracy.top1, 4),
        **order(report),
        **({"right": right_or_wrong(report)} if each_clip else {}),
        **without,
        "seconds": round(last.seconds),
    }


def split_of(recipe: Recipe) -> Split:
    """Find the training and test videos of the recipe.

    Raises:
        ValueError: there is a warning about the videos, for example that they have no val/ folder.
    """
    split = read_split(recipe.data, seed=recipe.seed)
    if split.warnings:
        raise ValueError(f"the benchmark cannot use these videos: {split.warnings[0]}")
    return split


def order(report: Report) -> dict[str, object]:
    """Return the columns that separate wrong actions from wrong directions.

    `val_action` is the share of videos whose action is right, in either direction. The other columns are
    about these videos only: `val_order` is the share whose direction is right too, and `val_ways` is that
    share for each action (`Diving 0.95; …`). A network that ignores the order of frames gets half the
    directions right.
    """
    names = actions_of(report.classes)
    actions = torch.tensor([names.index(name) for name in names])
    answers, labels = report.scores.argmax(1), report.labels
    told = actions[answers] == actions[labels]
    right = (answers == labels)[told].double()
    ways = [
        f"{names[action]} {right[own].mean().item():.4f}"
        for action in actions.unique().tolist()
        if (own := actions[labels][told] == action).any()
    ]
    return {
        "val_action": round(told.double().mean().item(), 4),
        "val_order": round(right.mean().item(), 4),
        "val_ways": "; ".join(ways),
    }


def right_or_wrong(report: Report) -> str:
    """Return for each video in order whether the answer is right: 1 or 0."""
    return "".join("01"[right] for right in (report.scores.argmax(1) == report.labels).tolist())


def without_parts(network: Network, split: Split, recipe: Recipe) -> dict[str, object]:
    """Return the accuracy without TAM's kernel priors, and without the branches G: columns of a row.

    Without G, each channel's kernel is softmax(P), the same for all clips.
    """
    tams = [module for module in network.modules() if isinstance(module, TAM | GlobalBranch)]
    found: dict[str, object] = {"without_p": "", "without_g": ""}
    for column, name in (("without_p", "P"), ("without_g", "G.3.weight")):
        weights = [tam.get_parameter(name) for tam in tams if tam.P is not None]
        if not weights:
            continue
        kept = [weight.detach().clone() for weight in weights]
        with torch.no_grad():
            for weight in weights:
                weight.zero_()
            report = evaluate.evaluate(network, split.val, classes=split.classes, recipe=recipe)
            for weight, old in zip(weights, kept, strict=True):
                weight.copy_(old)
        found[column] = round(report.accuracy.top1, 4)
    return found

"""One training of a comparison, and its results: the columns of a row of results/compare.csv."""

import copy
import gc
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from bench.common import capture_passes
from projects.compare.cases import actions_of
from projects.compare.side_by_side import can_capture, evaluate_side_by_side, train_side_by_side
from tanet.checkpoints import checkpoint
from tanet.data.annotations import read_split
from tanet.data.samples import Split
from tanet.errors import UserError
from tanet.evaluation import evaluate
from tanet.evaluation.report import Report
from tanet.models.network import Network
from tanet.models.temporal.tam import TAM
from tanet.models.temporal.tam_ablations import GlobalBranch
from tanet.recipes.recipe import Recipe
from tanet.runtime.device import pick_device
from tanet.training.trainer import EpochResult, train

WITHOUT = {"without_s": "S", "without_g": "G.3.weight"}
"""Column of a row → parameter of TAM that is 0 in this test."""


def run(recipe: Recipe, *, graph: bool, each_clip: bool = False, ablate: bool = False) -> dict[str, object]:
    """Train a network, test it after its last epoch, and return the results.

    Args:
        recipe: what to train.
        graph: whether to use CUDA graphs, if there is a GPU.
        each_clip: whether to return for each test video in order whether the answer was right, 1 or 0.
        ablate: whether to test also without TAM's static kernels S, and without its branches G.
    """
    split = split_of(recipe)
    results: list[EpochResult] = []

    def keep(event: object) -> None:
        if isinstance(event, EpochResult):
            results.append(event)

    def capture(network: Network) -> None:
        if graph and can_capture(recipe) and torch.cuda.is_available():
            capture_passes(network, recipe.optim, size=recipe.data.size)

    with tempfile.TemporaryDirectory() as out:
        train(recipe, out=out, on_event=keep, on_network=capture)
        gc.collect()  # a captured network refers to itself, so reference counting does not free its memory
        trained = checkpoint.load(Path(out) / "last.safetensors", device=pick_device())
    networks = {"": trained.network, **(without_parts(trained.network) if ablate else {})}
    reports = {
        name: evaluate.evaluate(network, split.val, classes=split.classes, recipe=recipe)
        for name, network in networks.items()
    }
    last = results[-1]
    assert last.val_top1 is not None  # the last epoch is always validated
    return columns(
        recipe,
        reports,
        epochs=last.epoch,
        train_top1=last.train_top1,
        one_view=last.val_top1,
        seconds=last.seconds,
        each_clip=each_clip,
        ablate=ablate,
    )


def run_side_by_side(
    recipes: Sequence[Recipe], *, graph: bool, each_clip: bool = False, ablate: bool = False
) -> list[dict[str, object]]:
    """Train networks on the same batches, test them, and return the results of each; see `run`."""
    started, split = time.monotonic(), split_of(recipes[0])
    trained = train_side_by_side(recipes, split, graph=graph)
    seconds = time.monotonic() - started
    networks = [{"": own.network, **(without_parts(own.network) if ablate else {})} for own in trained]
    flat = [network for own in networks for network in own.values()]
    found = iter(evaluate_side_by_side(flat, split, recipes[0]))
    reports = [{name: next(found) for name in own} for own in networks]
    one_view = replace(recipes[0], eval=replace(recipes[0].eval, clips=1, crops=1, clip_frames=0))
    firsts = evaluate_side_by_side([own.network for own in trained], split, one_view)
    return [
        columns(
            recipe,
            own,
            epochs=student.epochs,
            train_top1=student.top1,
            one_view=first.accuracy.top1,
            seconds=seconds,
            each_clip=each_clip,
            ablate=ablate,
        )
        for recipe, own, student, first in zip(recipes, reports, trained, firsts, strict=True)
    ]


def columns(
    recipe: Recipe,
    reports: Mapping[str, Report],
    *,
    epochs: int,
    train_top1: float,
    one_view: float,
    seconds: float,
    each_clip: bool,
    ablate: bool,
) -> dict[str, object]:
    """Return the columns of a row.

    Args:
        recipe: what was trained.
        reports: the report of the network (""), and of the network without parts; see `without_parts`.
        epochs: length of the training.
        train_top1: share of right answers in the last epoch's steps.
        one_view: top-1 with one view of each video.
        seconds: duration of the training; of all trainings side by side.
        each_clip, ablate: see `run`.
    """
    report = reports[""]
    without = {name: round(reports[name].accuracy.top1, 4) if name in reports else "" for name in WITHOUT}
    return {
        "backbone": getattr(recipe.model, "backbone", recipe.model.title),
        "classes": len(report.classes),
        "epochs": epochs,
        "train_top1": round(train_top1, 4),
        "val_top1_one_view": round(one_view, 4),
        "views": f"{recipe.eval.clips} x {recipe.eval.crops}",
        "val_top1": round(report.accuracy.top1, 4),
        **order(report),
        **({"right": right_or_wrong(report)} if each_clip else {}),
        **(without if ablate else {}),
        "seconds": round(seconds),
    }


def column_names(*, each_clip: bool, ablate: bool) -> list[str]:
    """Return the names of the columns that `columns` returns, in order, without a training."""
    return [
        *("backbone", "classes", "epochs", "train_top1", "val_top1_one_view", "views"),
        *("val_top1", "val_action", "val_order", "val_ways"),
        *(["right"] if each_clip else []),
        *(WITHOUT if ablate else []),
        "seconds",
    ]


def split_of(recipe: Recipe) -> Split:
    """Find the training and test videos of the recipe.

    Raises:
        UserError: there is a warning about the videos, for example that they have no val/ folder.
    """
    split = read_split(recipe.data, seed=recipe.seed)
    if split.warnings:
        raise UserError(f"the benchmark cannot use these videos: {split.warnings[0]}")
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


def without_parts(network: Network) -> dict[str, Network]:
    """Return copies of a network without TAM's static kernels S, and without its branches G, by column.

    Without G, a channel's kernel is 1/K + S for all clips. A network without static kernels has no copies.
    """
    found: dict[str, Network] = {}
    for column, name in WITHOUT.items():
        other = copy.deepcopy(network)
        tams = [module for module in other.modules() if isinstance(module, TAM | GlobalBranch)]
        weights = [tam.get_parameter(name) for tam in tams if tam.S is not None]
        if weights:
            with torch.no_grad():
                for weight in weights:
                    weight.zero_()
            found[column] = other
    return found

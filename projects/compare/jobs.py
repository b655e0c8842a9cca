"""Trainings of a comparison: which ones run together, and on which videos."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.decoded_cache import kept_open
from projects.compare.folds import write_lists
from projects.compare.one_run import run, run_side_by_side, split_of
from projects.compare.side_by_side import MOST, batches_of
from tanet.data.samples import Split
from tanet.recipes.recipe import Recipe

Fold = tuple[int, int] | None


@dataclass(frozen=True)
class Job:
    """A training to run. Its result becomes one row of the results file."""

    key: Mapping[str, str]
    """The values that identify the row: name of a column → value in this column."""
    recipe: Recipe
    graph: bool
    """Whether to use CUDA graphs, if there is a GPU."""
    command: str
    """The command that repeats this row alone."""
    fold: Fold = None
    """The fold to test on, and the number of folds; None for the data set's own train/ and val/."""
    ablate: bool = False
    """Whether to test also without parts of TAM's kernels."""

    def __str__(self) -> str:
        fold = f", fold {self.fold[0]}" if self.fold else ""
        return f"{self.key['case']}, seed {self.key['seed']}{fold}"


@dataclass(frozen=True)
class Team:
    """Jobs that run side by side; or one job."""

    jobs: tuple[Job, ...]

    def __str__(self) -> str:
        return "; ".join(map(str, self.jobs))


def teams_of(jobs: Sequence[Job]) -> list[Team]:
    """Group the jobs whose networks see the same batches, in the order of the first job of each group."""
    teams: dict[object, list[Job]] = {}
    for job in jobs:
        teams.setdefault((job.fold, batches_of(job.recipe)), []).append(job)
    starts = [(team, start) for team in teams.values() for start in range(0, len(team), MOST)]
    return [Team(tuple(team[start : start + MOST])) for team, start in starts]


def train_team(team: Team, *, root: Path) -> list[dict[str, object]]:
    """Run jobs on the decoded videos in `root`, several jobs side by side, and return their results."""
    first = team.jobs[0]
    recipes = [replace(job.recipe, data=replace(job.recipe.data, root=str(root))) for job in team.jobs]
    options = {"graph": first.graph, "each_clip": first.fold is not None, "ablate": first.ablate}
    with tempfile.TemporaryDirectory() as folder, kept_open():
        if first.fold:
            recipes = [in_fold(recipe, root, Path(folder), first.fold) for recipe in recipes]
        if len(recipes) == 1:
            return [run(recipes[0], **options)]
        return run_side_by_side(recipes, **options)


def in_fold(recipe: Recipe, root: Path, folder: Path, fold: tuple[int, int]) -> Recipe:
    """Return a recipe that trains and tests on the lists of a fold, which are written into `folder`."""
    train_list, val_list = write_lists(root, folder, folds=fold[1], fold=fold[0])
    return replace(recipe, data=replace(recipe.data, train=str(train_list), val=str(val_list)))


def split_in(recipe: Recipe, root: Path, fold: Fold) -> Split:
    """Find the training and test videos of the recipe, or of a fold; see `split_of`."""
    if fold is None:
        return split_of(recipe)
    with tempfile.TemporaryDirectory() as folder:
        return split_of(in_fold(recipe, root, Path(folder), fold))

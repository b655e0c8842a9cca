"""Trainings of a comparison: from which weights they start, on which videos, and which ones run together."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.decoded_cache import kept_open, twins
from projects.compare.cases import VARIED, Case
from projects.compare.folds import write_lists
from projects.compare.one_run import run, run_side_by_side, split_of
from projects.compare.side_by_side import batches_of, in_teams
from tanet.checkpoints.checkpoint import Header
from tanet.checkpoints.initialize import read_trained
from tanet.data.samples import Split
from tanet.errors import UserError
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.recipe import Recipe
from tanet.runtime.distributed import join_process_group
from tanet.runtime.events import ignore
from tanet.runtime.interrupt import StopRequest
from tanet.training.setup import TrainingContext, build_network

Fold = tuple[int, int] | None
INITIAL = ("center_tap_bias", "static_strength", "frames")
"""Fields that may differ from the checkpoint's: it overrides the first two; the loader checks the frames."""


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
    return [Team(tuple(team)) for together in teams.values() for team in in_teams(together)]


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


def check_starts(recipes: Sequence[Recipe], classes: tuple[str, ...]) -> None:
    """Build each network once with its initial weights, so that a broken file fails before any training.

    Raises:
        UserError: the weights cannot be read, or do not fit the network.
    """
    started = {recipe.model: recipe for recipe in recipes if recipe.model.init or recipe.model.weights}
    # The StopRequest is not entered: Ctrl-C ends the command at once.
    with join_process_group("cpu", timeout=60.0) as (group, device):
        context = TrainingContext(group, device, ignore, StopRequest(), compile=False, save_after=math.inf)
        for recipe in started.values():
            build_network(recipe, classes, context, resumed=False)


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


def check_changes(chosen: Sequence[Case], usual: Recipe, changes: Sequence[str]) -> None:
    """Check that every change of the network reaches the networks of all cases.

    Raises:
        UserError: a case has its own value of a changed field, or no such field.
    """
    for text in changes:
        section, _, field = text.partition("=")[0].partition(".")
        if section != "model":
            continue
        wanted = getattr(usual.model, field)
        for case in chosen:
            if getattr(case.model, field, None) != wanted:
                raise UserError(f"--change {text}: no effect on the case '{case.name}'; leave one out")


def weights_of(texts: Sequence[str]) -> dict[str, str]:
    """Parse BACKBONE=FILE texts into a dict from 2D network to weights file.

    Raises:
        UserError: a text is not of the form BACKBONE=FILE, or its file does not exist.
    """
    found: dict[str, str] = {}
    for text in texts:
        backbone, _, file = text.partition("=")
        if not Path(file).is_file():
            raise UserError(f"--weights {text}: no such file; write BACKBONE=FILE")
        found[backbone] = file
    return found


def from_checkpoint(case: Case, folder: Path) -> Case:
    """Return the case with its checkpoint in `folder`, which distil.py wrote, as initial weights.

    Raises:
        UserError: there is no such folder or checkpoint, or the file cannot be read or is of another network.
    """
    if not folder.is_dir():
        raise UserError(f"--init {folder}: no such folder; give the one that projects.compare.distil wrote")
    file = folder / f"{case.name}.safetensors"
    if not file.is_file():
        raise UserError(f"--init {folder}: {file.name} is not there; make it with projects.compare.distil")
    trained = read_trained(file)
    if not isinstance(trained, Header):
        raise UserError(f"--init {folder}: {file.name} has weights for images, and no temporal module")
    theirs, ours = _weights_follow_from(trained.recipe.model), _weights_follow_from(case.model)
    if other := [name for name in ours if theirs[name] != ours[name]]:
        raise UserError(
            f"--init {folder}: {file.name} is of another network; it differs in {', '.join(other)}"
        )
    return replace(case, model=replace(case.model, init=str(file)))


def _weights_follow_from(model: NetworkSettings) -> dict[str, object]:
    """Return the fields that decide which weights a network has, and what its modules compute."""
    found: dict[str, object] = {name: getattr(model, name, None) for name in VARIED if name not in INITIAL}
    return found | {"static_kernel": getattr(model, "static_kernel", "none") != "none"}


def counted(split: Split, *, as_files: bool) -> str:
    """Return a text: the numbers of videos, and whether both directions of a clip come from one file."""
    pairs = not as_files and any(twins(sample.path) for sample in split.val)
    return f"{len(split.train)} + {len(split.val)}{', both ways from one file, in turn' if pairs else ''}"


def one_way(split: Split) -> list[str]:
    """Return the clips without a twin in the other direction, if other clips have one."""
    clips = [sample.path for sample in (*split.train, *split.val)]
    lone = [str(clip) for clip in clips if not twins(clip)]
    return lone if len(lone) < len(clips) else []


def start(model: NetworkSettings) -> str:
    """Return the name of a network's initial weights: ImageNet, scratch or the name of a checkpoint."""
    if model.init:
        return Path(model.init).stem
    return "ImageNet" if model.weights else "scratch"

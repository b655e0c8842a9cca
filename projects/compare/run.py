"""Run the paper's comparisons on open data: all modules, several seeds, one recipe → results/compare.csv.

    python -m projects.compare.run --benchmark arrow6 --data arrow6 --weights mobilenet_v2=FILE
    tanet synthesize synthetic
    python -m projects.compare.run --benchmark synthetic --data synthetic --seeds 0 1 2 3 4 --tables 2

Each row of the file is one training, tested after its last epoch with the recipe's views. The row holds the
command that repeats the training. Existing rows are not run again, so a comparison can be stopped at any time
and continued later. The outer loop is over seeds, so all cases always have about the same number of rows.
The seed fixes the order of the videos and their crops. All cases with the same number of frames see the same
clips, so they can be compared seed by seed. One training is too small to fill a GPU: `--side-by-side` trains
all cases of a seed on the same batches (side_by_side.py), and `--processes` runs several trainings at once,
on all GPUs. Several processes can share a GPU if NVIDIA's MPS runs: `nvidia-cuda-mps-control -d`.
Afterwards, write docs/compare.md with `python -m projects.compare.page`.

The recipes were chosen on `none` and `tsm`; see projects/compare/cases.py.
"""

import argparse
import csv
import shlex
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.common import HEAD, ROOT, add_row, head, one_line_errors, read_csv
from bench.decoded_cache import decoded
from bench.flags import above_zero, at_least, command
from projects.compare.cases import (
    BENCHMARKS,
    OTHERS,
    Case,
    buildable,
    cases,
    change,
    changes_text,
    choose,
    made_otherwise,
    network_of,
    recipe_id,
)
from projects.compare.jobs import (
    Fold,
    Job,
    Team,
    check_changes,
    check_starts,
    counted,
    from_checkpoint,
    one_way,
    split_in,
    start,
    teams_of,
    train_team,
    weights_of,
)
from projects.compare.one_run import column_names
from projects.compare.parallel_runs import Timetable, run_parallel
from tanet.data.samples import Split
from tanet.errors import UserError
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.recipe import Recipe
from tanet.runtime.files import make_folder
from tanet.synthetic import DESCRIPTION
from tanet.training.plan import plan

KEY = ("benchmark", "recipe", "changes", "case", "seed", "start", "videos", "made")
"""The columns that identify a run."""
OWN = ("data.root", "data.workers", "data.transform_on", "model.weights", "model.init")
"""Fields that this command sets itself."""


@one_line_errors(stopped="stopped; run the same command again to continue")
def main() -> None:
    flags = _flags()
    timetable = Timetable(flags.seconds)
    if due := due_jobs(flags):
        run_and_add_rows(due, flags, timetable)


def due_jobs(flags: argparse.Namespace) -> list[Job]:
    """Return the trainings that have no row yet, after all checks that need no training.

    Raises:
        UserError: flags contradict each other, or a file cannot be used.
    """
    jobs, classes = jobs_of(flags)
    check_out(flags.out, ablate=flags.ablate, each_clip=bool(flags.folds))
    due = missing(jobs, flags.out)
    check_starts([job.recipe for job in due], classes)
    return due


def jobs_of(flags: argparse.Namespace) -> tuple[list[Job], tuple[str, ...]]:
    """Return the trainings that the flags ask for, and the class names. Print warnings about the videos.

    Raises:
        UserError: flags contradict each other, or the videos cannot be used.
    """
    check_flags(flags)
    usual = change(BENCHMARKS[flags.benchmark], flags.change)
    chosen = buildable(choose(cases(flags.tables, usual), flags.only))
    check_changes(chosen, usual, flags.change)
    data = replace(usual.data, root=flags.data, workers=flags.workers, transform_on="device")
    folds = [(fold, flags.folds) for fold in flags.fold or range(flags.folds)] or [None]
    splits = {fold: split_in(replace(usual, data=data), Path(flags.data), fold) for fold in folds}
    if len(splits[folds[0]].classes) < 2:
        raise UserError(f"--data {flags.data}: a comparison needs clips of two classes or more")
    weights = weights_of(flags.weights)
    backbones = {getattr(case.model, "backbone", "") for case in chosen}
    if unused := sorted(weights.keys() - backbones):
        raise UserError(
            f"--weights {unused[0]}=…: the chosen cases have {', '.join(sorted(backbones - {''}))}"
        )
    if flags.init:
        chosen = [from_checkpoint(case, flags.init) for case in chosen]
    common = {
        "benchmark": flags.benchmark,
        "recipe": recipe_id(usual),
        "changes": changes_text(flags.change),
        "made": made_otherwise(flags.data),
    }

    def recipe_with(model: NetworkSettings, *, seed: int) -> Recipe:
        model = replace(model, weights=weights.get(getattr(model, "backbone", ""), ""))
        return replace(usual, data=data, model=model, seed=seed)

    def job(case: Case, seed: int, fold: Fold) -> Job:
        recipe = recipe_with(case.model, seed=seed)
        videos = counted(splits[fold], as_files=flags.as_files) + (
            ", fold {} of {}".format(*fold) if fold else ""
        )
        begun = flags.init.resolve().name if flags.init else start(recipe.model)
        own = {"case": case.name, "seed": str(seed), "start": begun, "videos": videos}
        return Job(
            key={name: {**common, **own}[name] for name in KEY},
            recipe=recipe,
            graph=not flags.no_graph,
            command=repeat(flags, case, seed, fold),
            fold=fold,
            ablate=flags.ablate,
        )

    network = replace(network_of(usual), init=chosen[0].model.init)
    for line in warnings(flags.benchmark, recipe_with(network, seed=0), splits[folds[0]]):
        print(f"warning: {line}", flush=True)
    seeds = dict.fromkeys(flags.seeds)
    jobs = [job(case, seed, fold) for seed in seeds for fold in folds for case in chosen]
    return jobs, splits[folds[0]].classes


def check_flags(flags: argparse.Namespace) -> None:
    """Check flags that need no videos.

    Raises:
        UserError: flags contradict each other, or there is no such folder.
    """
    if taken := [text for text in flags.change if text.partition("=")[0] in OWN]:
        raise UserError(
            f"--change {taken[0]}: the benchmark sets {', '.join(OWN)} itself; leave this change out"
        )
    if flags.init and flags.weights:
        raise UserError("--init and --weights both set the weights to start from: give only one")
    if OTHERS in flags.tables and flags.benchmark != "synthetic":
        raise UserError(f"--tables {OTHERS}: these networks are for --benchmark synthetic")
    if not Path(flags.data).is_dir():
        raise UserError(f"--data {flags.data}: no such folder")
    if flags.folds == 1:
        raise UserError("--folds 1: give 2 folds or more")
    if flags.fold and not flags.folds:
        raise UserError("--fold needs --folds, the number of folds")
    if flags.fold and max(flags.fold) >= flags.folds:
        raise UserError(f"--fold {max(flags.fold)}: there are {flags.folds} folds, counted from 0")


def warnings(benchmark: str, recipe: Recipe, split: Split) -> list[str]:
    """Return warnings about the videos of a comparison."""
    found = list(plan(recipe, split).warnings)
    root = Path(recipe.data.root)
    if benchmark == "synthetic" and not (root / DESCRIPTION).exists():
        found.append(f"{root} has no {DESCRIPTION}: it is incomplete, or its settings are unknown")
    if lone := one_way(split):
        found.append(
            f"{len(lone)} clips, such as {lone[0]}, exist in one direction only, which raises val_order"
        )
    return found


def run_and_add_rows(jobs: Sequence[Job], flags: argparse.Namespace, timetable: Timetable) -> None:
    """Run the jobs while time is left, and add a row to the results for each."""
    teams = teams_of(jobs) if flags.side_by_side else [Team((job,)) for job in jobs]
    with decoded(flags.data, one_file=not flags.as_files) as cache:
        print(f"{cache.videos} videos decoded, {timetable.seconds():.0f} s", flush=True)
        work = partial(train_team, root=cache.root)
        for team, results in run_parallel(work, timetable.allows(teams), processes=flags.processes):
            timetable.ended(team)
            for done, found in zip(team.jobs, results, strict=True):
                add_row(flags.out, {**head("torch", "av"), **done.key, **found, "command": done.command})
                print(f"{done}: top-1 {found['val_top1']}, {found['seconds']} s", flush=True)


def check_out(out: Path, *, ablate: bool, each_clip: bool) -> None:
    """Check, before any work, that rows can be added to `out`.

    Raises:
        UserError: the file cannot be written, or has other columns than the new rows.
    """
    make_folder(out.parent)
    if not out.exists():
        return
    if not out.is_file():
        raise UserError(f"--out {out}: not a file")
    try:
        with out.open("r+", newline="") as file:  # r+ fails unless the file can be written
            columns = next(csv.reader(file), None)
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"--out {out}: {getattr(error, 'strerror', None) or 'not a CSV file'}") from error
    if columns is None:
        return
    if lacking := [name for name in KEY if name not in columns]:
        raise UserError(f"{out} has other columns, and lacks {', '.join(lacking)}; choose another --out")
    for flag, given, column in (("--ablate", ablate, "without_s"), ("--folds", each_clip, "right")):
        if given != (column in columns):
            made, now = ("without", "with") if given else ("with", "without")
            raise UserError(
                f"the rows of {out} were made {made} {flag}: rows made {now} it need another --out"
            )
    wanted = [*HEAD, *KEY, *column_names(each_clip=each_clip, ablate=ablate), "command"]
    if columns != wanted:
        raise UserError(f"{out} has other columns than new rows; choose another --out")


def missing(jobs: Sequence[Job], out: Path) -> list[Job]:
    """Return the jobs that have no row in `out` yet, and print the other jobs."""
    rows = {tuple(row[name] for name in KEY) for row in read_csv(out)}
    due = []
    for job in jobs:
        if tuple(job.key.values()) in rows:
            print(f"kept: {job}", flush=True)
        else:
            due.append(job)
    return due


def repeat(flags: argparse.Namespace, case: Case, seed: int, fold: Fold) -> str:
    """Return the command that repeats this row alone."""
    words = ["--benchmark", flags.benchmark, "--data", Path(flags.data).name]
    for text in flags.weights:
        name, _, file = text.partition("=")
        if name == getattr(case.model, "backbone", ""):
            words += ["--weights", f"{name}={Path(file).name}"]
    words += ["--init", flags.init.resolve().name] if flags.init else []
    words += ["--change", *flags.change] if flags.change else []
    words += ["--as-files"] if flags.as_files else []
    words += ["--no-graph"] if flags.no_graph else []
    words += ["--ablate"] if flags.ablate else []
    words += ["--folds", str(fold[1]), "--fold", str(fold[0])] if fold else []
    words += ["--tables", case.rows[0][0], "--only", case.name, "--seeds", str(seed)]
    return shlex.join(["python", "-m", "projects.compare.run", *words])


def _flags() -> argparse.Namespace:
    parser = command("projects.compare.run", __doc__)
    parser.add_argument("--benchmark", choices=list(BENCHMARKS), required=True, help="data set and recipe")
    parser.add_argument(
        "--data", required=True, help="folder with train/ and val/; with --folds, one that folds.py wrote"
    )
    parser.add_argument("--weights", nargs="+", default=[], help="ImageNet weights: BACKBONE=FILE …")
    parser.add_argument(
        "--init",
        type=Path,
        help="folder of distil.py: start each case from CASE.safetensors (rows have the folder's name)",
    )
    parser.add_argument(
        "--tables", nargs="+", default=["2"], help="paper tables (2 1a 1b 3 5a 5b), start, static or systems"
    )
    parser.add_argument("--only", nargs="+", help="run only these cases: tam, 'tam kernel=5', …")
    parser.add_argument("--seeds", type=at_least(0), nargs="+", default=[0, 1, 2], help="one training each")
    parser.add_argument(
        "--folds",
        type=at_least(0),
        default=0,
        help="folds for cross-validation by group (folds.py)",
    )
    parser.add_argument("--fold", type=at_least(0), nargs="+", help="folds to test on, from 0 (default: all)")
    parser.add_argument("--change", nargs="+", default=[], help="changes to the recipe: optim.epochs=2 …")
    parser.add_argument("--seconds", type=above_zero, help="time limit; start no run that may end later")
    parser.add_argument(
        "--workers", type=at_least(0), default=0, help="processes that load clips; 0: the main process"
    )
    parser.add_argument(
        "--processes", type=at_least(1), default=1, help="number of trainings at once; start MPS if above 1"
    )
    parser.add_argument(
        "--side-by-side",
        action="store_true",
        help="train all cases of a seed on the same batches (side_by_side.py)",
    )
    parser.add_argument(
        "--as-files", action="store_true", help="play each direction of a clip from its own file"
    )
    parser.add_argument(
        "--ablate", action="store_true", help="test also without static kernels, and without branches G"
    )
    parser.add_argument("--no-graph", action="store_true", help="train without CUDA graphs")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "results" / "compare.csv", help="file to add rows to"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()

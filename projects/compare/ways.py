"""Compare one module with all others on real videos in folds: its leads, and what this data set can show.

    python -m projects.compare.ways results/compare_folds.csv --data ways --case "tam static_kernel=shift"

The table has a line for each case that has all folds for at least one seed:

top-1         accuracy, with its standard deviation over seeds
action        share of videos whose action is right, in either direction
order         share of these videos whose direction is right, too
lead          top-1 of `--case` minus top-1 of the line, with a simultaneous 95 % interval over groups and
              seeds; a * marks a significant lead, whose interval does not contain 0
could show    smallest lead that this comparison would find significant with a probability of 80 %
for 2 points  number of videos with which it would find 2 points with this probability

As in against.py, rows with static kernels and the other modules are two families, tested separately.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.common import one_line_errors
from bench.flags import command
from projects.compare.against import families
from projects.compare.folds import assign, group_of
from projects.compare.results import read_results
from projects.compare.statistics import difference, spread
from tanet.errors import UserError

POINTS = 2.0
NEEDED = ("case", "seed", "videos", "right", "val_action", "val_order")
"""Columns that a file must have."""
FOLD = re.compile(r"fold (\d+) of ([1-9]\d*)$")
CLIPS = Path(__file__).with_name("ways_clips.txt")
"""List of the clips of `results/compare_folds.csv` and `results/compare_distilled.csv`."""


@one_line_errors()
def main(words: Sequence[str] | None = None) -> None:
    parser = command("projects.compare.ways", __doc__)
    parser.add_argument("rows", type=Path, help="CSV file of projects.compare.run with --folds")
    parser.add_argument(
        "--data",
        type=Path,
        default=CLIPS,
        help="folder that projects.compare.folds wrote, or a list of its clips (default: those of results/)",
    )
    parser.add_argument("--case", default="tam", help="case to compare the others with")
    flags = parser.parse_args(words)
    rows = read_results(flags.rows, NEEDED)
    print("\n".join(table_of(flags.rows, rows, clips_of(flags.data), flags.case)))


def clips_of(path: Path) -> list[Path]:
    """Return the clips of a folder that `folds` wrote, or of a list of them: CLASS/GROUP__NAME.mp4, sorted.

    Raises:
        UserError: there is no such folder or list, or it has no clips.
    """
    if not path.exists():
        raise UserError(f"{path}: no such folder or list of clips")
    try:
        if path.is_dir():
            found = [clip.relative_to(path) for clip in sorted(path.glob("*/*.mp4"))]
        else:
            found = sorted(Path(line) for line in path.read_text().splitlines() if line)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a list of clips") from error
    if not found:
        raise UserError(f"{path}: no clips")
    return found


def table_of(file: Path, rows: Sequence[dict[str, str]], clips: Sequence[Path], case: str) -> list[str]:
    """Return the lines of a table of the rows of a file; errors name the file."""
    try:
        return table(rows, clips, case)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error


def table(rows: Sequence[dict[str, str]], clips: Sequence[Path], case: str) -> list[str]:
    """Return the lines of a table in Markdown.

    Raises:
        UserError: the rows mix different numbers of folds, or do not match the list of clips, or no seed of
            the case has all folds.
    """
    if not rows:
        raise UserError("no rows; run projects.compare.run with --folds first")
    rows = [row for row in rows if "fold " in row["videos"]]
    folds = {fold_of(row)[1] for row in rows}
    if len(folds) != 1:
        found = ", ".join(map(str, sorted(folds))) or "none"
        raise UserError(f"all rows must have the same number of folds; found: {found}")
    (number,) = folds
    right = answers(rows, clips, folds=number)
    if all(row["case"] != case for row in rows):
        names = ", ".join(f"'{name}'" for name in dict.fromkeys(row["case"] for row in rows))
        raise UserError(f"no row of '{case}'; the cases are {names}")
    if case not in right:
        raise UserError(f"'{case}' has no seed whose {number} folds are all there")
    groups = [group_of(clip) for clip in clips]
    comparisons = {name: len(family) for family in families(right, case) for name in family}
    out = [
        f"{len(clips)} videos of {len(set(groups))} groups, {number} folds.",
        "",
        "| case | seeds | top-1 | action | order | lead | could show | for 2 points |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, own in sorted(right.items(), key=lambda pair: -np.mean(list(pair[1].values()))):
        tops = [100 * float(own[seed].mean()) for seed in sorted(own)]
        action, order = shares([row for row in rows if row["case"] == name and int(row["seed"]) in own])
        text = f"| `{name}` | {len(own)} | {spread(tops)} | {100 * action:.1f} | {100 * order:.1f} "
        seeds = sorted(own.keys() & right[case].keys())
        if name == case or not seeds:
            out.append(f"{text}| | | |")
            continue
        pair = [np.stack([one[seed] for seed in seeds]) for one in (right[case], own)]
        found = difference(pair[0], pair[1], groups, comparisons=comparisons[name])
        needed = len(clips) * (found.smallest / POINTS) ** 2
        mark = " \\*" if found.significant else ""
        out.append(
            f"{text}| {found.mean:+.1f} ({found.low:+.1f} to {found.high:+.1f}){mark} "
            f"| {found.smallest:.1f} | {needed:,.0f} |"
        )
    return out


def shares(rows: Sequence[dict[str, str]]) -> tuple[float, float]:
    """Return the share of videos with the right action, and the share of these with the right direction."""
    videos = [len(row["right"]) for row in rows]
    told = [count * float(row["val_action"]) for count, row in zip(videos, rows, strict=True)]
    right = [count * float(row["val_order"]) for count, row in zip(told, rows, strict=True)]
    return sum(told) / sum(videos), sum(right) / sum(told)


def fold_of(row: dict[str, str]) -> tuple[int, int]:
    """Return the fold that a row tests on, from 0, and the number of folds."""
    if not (match := FOLD.search(row["videos"])):
        raise damaged(row, "videos")
    return int(match[1]), int(match[2])


def damaged(row: dict[str, str], column: str) -> UserError:
    """Return an error that names a row and its wrong column."""
    return UserError(f"a row of {row['case']}, seed {row['seed']}, is damaged: its column {column} is wrong")


def answers(
    rows: Sequence[dict[str, str]], clips: Sequence[Path], *, folds: int
) -> dict[str, dict[int, np.ndarray]]:
    """Return case → seed → whether each clip was recognised, for the seeds whose folds are all there.

    Raises:
        UserError: a row has another number of clips than its fold, or two rows of a case have the same seed
            and fold.
    """
    of_group = assign(clips, folds=folds)
    folds_of_clips = np.array([of_group[group_of(clip)] for clip in clips])
    found: dict[str, dict[int, np.ndarray]] = defaultdict(dict)
    for row in rows:
        fold, _ = fold_of(row)
        tested = folds_of_clips == fold
        if not set(row["right"]) <= set("01"):
            raise damaged(row, "right")
        right = found[row["case"]].setdefault(int(row["seed"]), np.full(len(clips), -1))
        if len(row["right"]) != tested.sum():
            raise UserError(
                f"the row of {row['case']}, seed {row['seed']}, fold {fold} is about other clips: "
                f"{len(row['right'])}, not {tested.sum()}; give their folder or list"
            )
        if (right[tested] >= 0).any():
            raise UserError(
                f"'{row['case']}' has two rows of seed {row['seed']}, fold {fold}; if they "
                "started from different weights, keep them in separate files"
            )
        right[tested] = [int(digit) for digit in row["right"]]
    whole = {
        case: {seed: right for seed, right in seeds.items() if (right >= 0).all()}
        for case, seeds in found.items()
    }
    return {case: seeds for case, seeds in whole.items() if seeds}


if __name__ == "__main__":
    main()

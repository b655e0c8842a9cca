"""Rows of results/compare.csv as lines of the paper's tables. Each line is compared with TAM."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.common import read_rows
from projects.compare.cases import Case, case_name, cases, network_of, paper_top1, recipe_id, recipe_of
from projects.compare.statistics import told_apart
from tanet.errors import UserError

BASELINE = "tam"
SPEEDS = ("benchmark", "changes", "case", "clips", "size", "ms_p50", "clips_s", "precision", "machine")
"""Columns that a file of projects.compare.speed must have."""
NUMBERS = {"seed": int, "clips": int, "size": int} | dict.fromkeys(
    ("val_top1", "val_action", "val_order", "ms_p50", "clips_s"), float
)
"""Columns of numbers, with their types."""
Row = Mapping[str, str]
"""A row of a CSV file."""


@dataclass(frozen=True)
class Line:
    """A line of a table: a case with its results for all seeds."""

    case: Case
    row: str
    """Row of the paper's table."""
    start: str
    """Initial weights: scratch or ImageNet."""
    runs: dict[int, Row]
    """Seed → row of results/compare.csv."""
    baseline: str
    """Name of the case to compare with: TAM in the same 2D network. For TAM itself, this is its own name."""
    paper: float | None
    """The paper's top-1 in per cent; None if the paper does not have this row."""
    classes: int
    size: int
    """Side of the test views, in pixels."""
    clips_s: float | None

    @property
    def top1(self) -> dict[int, float]:
        """Seed → top-1 in per cent."""
        return self._per_cent("val_top1")

    @property
    def action(self) -> dict[int, float]:
        """Seed → percentage of videos whose action is right."""
        return self._per_cent("val_action")

    @property
    def order(self) -> dict[int, float]:
        """Seed → percentage of right directions among the videos with the right action."""
        return self._per_cent("val_order")

    def _per_cent(self, column: str) -> dict[int, float]:
        return {seed: 100 * float(row[column]) for seed, row in self.runs.items()}


@dataclass(frozen=True)
class Compared:
    """A line compared with TAM."""

    line: Line
    differences: list[float]
    """Differences of top-1 to TAM, one per common seed. Empty for TAM itself, or without a common seed."""
    told_apart: bool
    """Whether the mean difference to TAM is statistically significant."""


def read_results(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a file of results that the user named.

    Raises:
        UserError: see `read_rows`; or one of the columns has a text where a number belongs.
    """
    rows = read_rows(path, columns)
    for row in rows:
        for name in columns:
            try:
                NUMBERS.get(name, str)(row[name])
            except (ValueError, TypeError):  # None: the row is too short
                raise UserError(f"{path}: '{row[name]}' in the column {name} is not a number") from None
    return rows


def current(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Return the rows that were trained with the benchmark's current recipe, not with an older one."""
    return [row for row in rows if row["recipe"] == recipe_id(recipe_of(row["benchmark"], row["changes"]))]


def lines(table: str, benchmark: str, changes: str, rows: Sequence[Row], speeds: Sequence[Row]) -> list[Line]:
    """Return the lines of a table, in the paper's order. TAM's line has only the seeds that others have."""
    recipe = recipe_of(benchmark, changes)
    usual = network_of(recipe)
    measured = {case: float(row["clips_s"]) for case, row in timed(speeds, benchmark, changes).items()}
    runs: dict[tuple[str, str], dict[int, Row]] = {}  # by case and start
    own_rows = [row for row in rows if (row["benchmark"], row["changes"]) == (benchmark, changes)]
    for row in own_rows:
        runs.setdefault((row["case"], row["start"]), {})[int(row["seed"])] = row

    found = [
        Line(
            case=case,
            row=name,
            start=start,
            runs=own,
            baseline=case_name(
                replace(usual, backbone=getattr(case.model, "backbone", usual.backbone), temporal=BASELINE),
                usual,
            ),
            paper=paper_top1(table, name),
            classes=int(own_rows[0]["classes"]),
            size=recipe.eval.size,
            clips_s=measured.get(case.name),
        )
        for case in cases([table], recipe)
        for _, name in case.rows
        for (trained, start), own in runs.items()
        if trained == case.name
    ]
    return [_of_common_seeds(line, found) for line in found]


def compare(found: Sequence[Line]) -> list[Compared]:
    """Compare each line with TAM in the same 2D network and with the same initial weights."""
    places = {(line.case.name, line.start): place for place, line in enumerate(found)}
    references = [
        None if line.case.name == line.baseline else places.get((line.baseline, line.start)) for line in found
    ]
    apart = told_apart([line.top1 for line in found], references)
    beside = [{} if reference is None else found[reference].top1 for reference in references]
    return [
        Compared(line, [value - tam[seed] for seed, value in line.top1.items() if seed in tam], told)
        for line, tam, told in zip(found, beside, apart, strict=True)
    ]


def ways_of(row: Row) -> dict[str, float]:
    """Parse the column `val_ways`: action → share of right directions among videos with the right action."""
    parts = [text.rpartition(" ") for text in row["val_ways"].split("; ") if text]
    return {action: float(part) for action, _, part in parts}


def timed(speeds: Sequence[Row], benchmark: str, changes: str) -> dict[str, Row]:
    """Return case → row of `speeds` for one benchmark, timed at the size at which the benchmark tests.

    Raises:
        UserError: the rows were measured under different conditions, so their times cannot be compared.
    """
    key = (benchmark, changes, str(recipe_of(benchmark, changes).eval.size))
    own = [row for row in speeds if (row["benchmark"], row["changes"], row["size"]) == key]
    if len(ways := sorted({way_timed(row) for row in own})) > 1:
        raise UserError(
            f"{benchmark} was timed under several conditions; keep the rows of one: {'; '.join(ways)}"
        )
    return {row["case"]: row for row in own}


def way_timed(row: Row) -> str:
    return f"{row['clips']} clips at a time in {row['precision']} on {row['machine']}"


def _of_common_seeds(line: Line, found: Sequence[Line]) -> Line:
    """Remove the seeds from TAM's line that no other line has; return any other line unchanged.

    TAM is in every table, and often has more seeds than the other lines.
    """
    if line.case.name != line.baseline:
        return line
    beside = [other for other in found if (other.baseline, other.start) == (line.baseline, line.start)]
    seeds = {seed for other in beside if other is not line for seed in other.runs}
    kept = {seed: run for seed, run in line.runs.items() if seed in seeds}
    return replace(line, runs=kept) if kept else line

"""What bench/compare.py found, as lines of the paper's tables, each beside TAM."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.compare_cases import Case, case_name, cases, paper_top1, recipe_id, recipe_of
from bench.compare_statistics import told_apart

BASELINE = "tam"
Row = Mapping[str, str]
"""Of a CSV file."""


@dataclass(frozen=True)
class Line:
    """A case with all that is known of it."""

    case: Case
    row: str
    """Of the paper's table."""
    start: str
    """Of the weights: scratch, ImageNet."""
    runs: dict[int, Row]
    """By seed."""
    baseline: str
    """The name of TAM's case in the same 2D network, which this is compared with; its own if it is that."""
    paper: float | None
    """Top-1, per cent, if the paper has this row."""
    classes: int
    size: int
    """Side of the views in testing."""
    clips_s: float | None

    @property
    def top1(self) -> dict[int, float]:
        """Per cent, by seed."""
        return self._per_cent("val_top1")

    @property
    def action(self) -> dict[int, float]:
        """Per cent, by seed."""
        return self._per_cent("val_action")

    @property
    def order(self) -> dict[int, float]:
        """Per cent, by seed."""
        return self._per_cent("val_order")

    def _per_cent(self, column: str) -> dict[int, float]:
        return {seed: 100 * float(row[column]) for seed, row in self.runs.items()}


@dataclass(frozen=True)
class Compared:
    """A line beside TAM."""

    line: Line
    differences: list[float]
    """To TAM, seed by seed; none of TAM itself, and where no seed is common."""
    told_apart: bool
    """Whether they are more than chance."""


def current(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Those whose recipe is still the benchmark's."""
    return [row for row in rows if row["recipe"] == recipe_id(recipe_of(row["benchmark"], row["changes"]))]


def lines(table: str, benchmark: str, changes: str, rows: Sequence[Row], speeds: Sequence[Row]) -> list[Line]:
    """The rows of a table that were run, in the paper's order; of TAM the seeds that others have as well."""
    recipe = recipe_of(benchmark, changes)
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
                replace(recipe.model, backbone=case.model.backbone, temporal=BASELINE), recipe.model
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
    """Each line beside the TAM of its 2D network and start."""
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
    """By action the part of its videos whose way was told, as bench.compare wrote it."""
    parts = [text.rpartition(" ") for text in row["val_ways"].split("; ") if text]
    return {action: float(part) for action, _, part in parts}


def timed(speeds: Sequence[Row], benchmark: str, changes: str) -> dict[str, Row]:
    """The speed of each case of a benchmark, at the size that it tests.

    Raises:
        ValueError: it was measured in several ways, whose times can not be compared.
    """
    key = (benchmark, changes, str(recipe_of(benchmark, changes).eval.size))
    own = [row for row in speeds if (row["benchmark"], row["changes"], row["size"]) == key]
    if len(ways := sorted({way_timed(row) for row in own})) > 1:
        raise ValueError(f"{benchmark} was timed in several ways, keep one: {'; '.join(ways)}")
    return {row["case"]: row for row in own}


def way_timed(row: Row) -> str:
    return f"{row['clips']} clips at a time in {row['precision']} on {row['machine']}"


def _of_common_seeds(line: Line, found: Sequence[Line]) -> Line:
    """TAM stands in every table, and was often run with more seeds than the rows beside it."""
    if line.case.name != line.baseline:
        return line
    beside = [other for other in found if (other.baseline, other.start) == (line.baseline, line.start)]
    seeds = {seed for other in beside if other is not line for seed in other.runs}
    kept = {seed: run for seed, run in line.runs.items() if seed in seeds}
    return replace(line, runs=kept) if kept else line

"""What bench/compare.py and bench/compare_speed.py measured, beside the paper's figures → docs/compare.md.

    python -m bench.compare_table

Accuracy is mean ± standard deviation over seeds; the difference to TAM is taken seed by seed, so that what a
seed does to both drops out. Parameters and GFLOPs are counted for the benchmark's network, as the paper
counts them. Nothing is judged: where the paper's order does not hold, the table shows it. What stands in the
page before the tables is written by hand and stays.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from bench.common import ROOT, read_csv
from bench.compare_cases import BENCHMARKS, START, Case, cases, change, paper_top1, recipe_id
from tanet.cost import cost, sketch
from tanet.visualize import rank_correlation

BASELINE = "tam"
TITLES = {
    "1a": "Table 1a: α and β",
    "1b": "Table 1b: kernel and frames",
    "2": "Table 2: temporal modules",
    "3": "Table 3: 2D networks",
    "5a": "Table 5a: place in the block",
    "5b": "Table 5b: stages",
    START: "Not in the paper: TAM's kernels begin near the identity, by a lead of the middle tap's logit",
}
T_5_PERCENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""By how many standard errors the mean of so many differences exceeds zero once in twenty times by chance."""
MADE = "Not in the paper: what makes motion complex left out, one cause at a time; in brackets, to TAM"
TITLE = "# The paper's comparisons on open data"
MARK = "<!-- made by bench.compare_table from here on -->"
HEAD = """## How it was measured

Made by `python -m bench.compare_table` from `results/compare.csv` and `results/compare_speed.csv`, where each
training stands with its commit and the command that repeats it. All rows of a benchmark are trained by the
same recipe. Top-1 in per cent, mean ± standard deviation over the seeds; *to TAM*: the mean of the
differences to `tam` of the same seed and start, ± their standard deviation, marked \\* where a paired t-test
takes it for more than chance at 5 % (each row by itself: of eleven, chance marks one every other time).
Parameters and GFLOPs are counted as the paper counts them. Clips/s are measured, 32 clips at a time, in
bfloat16, all networks in turn; `tam` and `tsm` have kernels of their own, the other modules are PyTorch's
operations. The paper's figures are of ResNet-50 on Kinetics-400.

The spread over seeds leaves out that other videos would give other figures: by chance alone, arrow6's 105
clips, played both ways, by 3 points at least, the synthetic set's 500 by 2. The recipes were chosen on `none`
and `tsm`, arrow6's on a part of its training videos, the synthetic one on videos of another seed; the size of
its tests was changed after the first rows of all modules ([LOG.md](../LOG.md)).

Every class has a counterpart that only the order of frames tells it from. *Order*: of the videos whose action
is told, whichever way it goes, the part whose way is told as well. A network blind to order is at 50 %, where
single frames tell nothing. arrow6's do: each way was encoded by itself, and by the traces of that such a
network learns to tell 59 % (`results/compare_as_files.csv`). So both ways of a clip are played from one
file, which for half of the clips is the forward one.
"""


@dataclass(frozen=True)
class Line:
    """A case with all that is known of it."""

    case: Case
    row: str
    """Of the paper's table."""
    top1: dict[int, float]
    """Per cent, by seed."""
    order: dict[int, float]
    """Per cent, by seed."""
    baseline: dict[int, float]
    """Of TAM."""
    paper: float | None
    """Top-1, per cent, if the paper has this row."""
    classes: int
    size: int
    start: str
    clips_s: str

    @property
    def differences(self) -> list[float]:
        """To TAM, seed by seed; none of TAM itself."""
        if self.case.name == BASELINE:
            return []
        return [value - self.baseline[seed] for seed, value in self.top1.items() if seed in self.baseline]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "results" / "compare.csv")
    parser.add_argument("--speed", type=Path, default=ROOT / "results" / "compare_speed.csv")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "compare.md")
    flags = parser.parse_args()
    rows, speeds = current(read_csv(flags.data)), read_csv(flags.speed)
    if not rows:
        raise SystemExit(f"{flags.data}: no rows of the recipes as they are: run bench.compare")
    page = flags.out.read_text() if flags.out.exists() else f"{TITLE}\n\n{MARK}"
    by_hand, mark, _ = page.partition(MARK)
    if not mark:
        raise SystemExit(f"{flags.out} would be lost: it has no line '{MARK}', from which on it is made")
    parts = [MARK, "", HEAD]
    sections: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for row in rows:
        sections.setdefault((row["benchmark"], row["changes"], row["videos"]), []).append(row)
    try:
        parts += [section(*key[:2], own, speeds) for key, own in sorted(sections.items())]
    except ValueError as error:
        raise SystemExit(f"{flags.speed}: {error}") from error
    flags.out.parent.mkdir(parents=True, exist_ok=True)
    flags.out.write_text(by_hand + "\n".join(parts))
    print(flags.out)


def current(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Those whose recipe is still the benchmark's."""
    return [
        row
        for row in rows
        if row["recipe"] == recipe_id(change(BENCHMARKS[row["benchmark"]], row["changes"].split()))
    ]


def section(
    benchmark: str, changes: str, rows: Sequence[Mapping[str, str]], speeds: Sequence[Mapping[str, str]]
) -> str:
    """All tables of one benchmark, with the same videos, that have rows to compare.

    Raises:
        ValueError: it was timed on several machines.
    """
    recipe = change(BENCHMARKS[benchmark], changes.split())
    first, machines = rows[0], ", ".join(dict.fromkeys(row["machine"] for row in rows))
    usual = [row for row in rows if not row["made"]]
    parts = [
        f"## {benchmark}{f' ({changes})' if changes else ''}",
        "",
        f"Videos to train and to test on: {first['videos']}; {first['classes']} classes, {first['views']} "
        f"views, {first['epochs']} epochs; usual network {recipe.model.backbone}; {machines}.",
        "",
    ]
    for table in TITLES:
        found = lines(table, benchmark, changes, usual, speeds)
        if len(found) > 1:  # TAM as it is stands in all of them
            parts += [f"### {TITLES[table]}", "", *draw(found), ""]
    return "\n".join([*parts, *draw_made(benchmark, changes, rows)])


def lines(
    table: str,
    benchmark: str,
    changes: str,
    rows: Sequence[Mapping[str, str]],
    speeds: Sequence[Mapping[str, str]],
) -> list[Line]:
    """The rows of a table that were run, in the paper's order."""
    recipe = change(BENCHMARKS[benchmark], changes.split())
    measured = {case: row["clips_s"] for case, row in timed(speeds, benchmark, changes).items()}
    top1: dict[tuple[str, str], dict[int, float]] = {}  # by case and start
    order: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows:
        key = (row["case"], row["start"])
        top1.setdefault(key, {})[int(row["seed"])] = 100 * float(row["val_top1"])
        order.setdefault(key, {})[int(row["seed"])] = 100 * float(row["val_order"])
    return [
        Line(
            case,
            name,
            values,
            order[trained, start],
            top1.get((BASELINE, start), {}),
            paper_top1(table, name),
            int(rows[0]["classes"]),
            recipe.eval.size,
            start,
            measured.get(case.name, ""),
        )
        for case in cases([table], recipe)
        for _, name in case.rows
        for (trained, start), values in top1.items()
        if trained == case.name
    ]


def timed(speeds: Sequence[Mapping[str, str]], benchmark: str, changes: str) -> dict[str, Mapping[str, str]]:
    """The speed of each case of a benchmark, at the size that it tests.

    Raises:
        ValueError: it was measured on several machines, whose times can not be compared.
    """
    size = change(BENCHMARKS[benchmark], changes.split()).eval.size
    key = (benchmark, changes, str(size))
    own = [row for row in speeds if (row["benchmark"], row["changes"], row["size"]) == key]
    if len(machines := sorted({row["machine"] for row in own})) > 1:
        raise ValueError(f"{benchmark} was timed on several machines, keep one: {', '.join(machines)}")
    return {row["case"]: row for row in own}


def draw(found: Sequence[Line]) -> list[str]:
    """A table, and in a sentence how far its order is the paper's."""
    out = [
        "| row | start | parameters | GFLOPs | clips/s | top-1 | to TAM | order | seeds | top-1, paper |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for line in found:
        count = cost(sketch(line.case.model, classes=line.classes), size=line.size).total
        cells = [
            f"`{line.row}`",
            line.start,
            f"{count.parameters / 1e6:.2f} M",
            f"{count.paper_flops / 1e9:.2f}",
            f"{float(line.clips_s):,.0f}" if line.clips_s else "",
            spread(list(line.top1.values())),
            difference(line.differences),
            spread(list(line.order.values())),
            str(len(line.top1)),
            "" if line.paper is None else f"{line.paper:.1f}",
        ]
        out.append(f"| {' | '.join(cells)} |")
    return out if found[0].paper is None else [*out, "", ranking(found)]


def draw_made(benchmark: str, changes: str, rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Modules on sets that were made otherwise, beside the usual one; nothing where there are none."""
    sets = list(dict.fromkeys(["", *sorted(row["made"] for row in rows)]))
    if len(sets) < 2:
        return []
    found = [
        lines("2", benchmark, changes, [row for row in rows if row["made"] == made], []) for made in sets
    ]
    by_set = [{line.row: line for line in of_set} for of_set in found]
    names = [line.row for line in found[0] if any(line.row in others for others in by_set[1:])]
    out = [
        f"### {MADE}",
        "",
        f"| row | {' | '.join(made or 'all' for made in sets)} |",
        "|---" * (len(sets) + 1) + "|",
    ]
    for name in names:
        cells = [brief(of_set[name]) if name in of_set else "" for of_set in by_set]
        out.append(f"| `{name}` | {' | '.join(cells)} |")
    return [*out, ""]


def brief(line: Line) -> str:
    """Top-1, and in brackets the difference to TAM."""
    text = spread(list(line.top1.values()))
    return f"{text} ({difference(line.differences)})" if line.differences else text


def ranking(found: Sequence[Line]) -> str:
    """How the order of the rows compares with the paper's."""
    means = [fmean(line.top1.values()) for line in found]
    papers = [line.paper or 0.0 for line in found]
    if len(found) < 3:
        return "Too few rows to compare their order with the paper's."
    best, paper_best = found[means.index(max(means))], found[papers.index(max(papers))]
    return (
        f"Best here: `{best.row}`; in the paper: `{paper_best.row}`. Rank correlation of the two orders "
        f"{rank_correlation(means, papers):+.2f} (1: the same order, -1: the reverse)."
    )


def difference(values: Sequence[float]) -> str:
    """Their mean ± standard deviation, marked where Student's t-test takes it for more than chance."""
    text = spread(values, sign="+") if values else ""
    if len(values) < 2:
        return text
    error = stdev(values) / len(values) ** 0.5
    return f"{text} \\*" if abs(fmean(values)) > T_5_PERCENT[min(len(values), 10)] * error else text


def spread(values: Sequence[float], *, sign: str = "") -> str:
    """Mean ± standard deviation."""
    deviation = f" ± {stdev(values):.1f}" if len(values) > 1 else ""
    return f"{fmean(values):{sign}.1f}{deviation}"


if __name__ == "__main__":
    main()

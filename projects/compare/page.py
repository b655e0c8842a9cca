"""Tabulate the rows of run.py and speed.py beside the paper's figures → docs/compare.md.

    python -m projects.compare.page

The tables show the figures without comment, also where the paper's order does not hold. The text of the page
before the generated part is written by hand and is kept.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from bench.common import ROOT, read_csv
from projects.compare.cases import START, recipe_of
from projects.compare.results import Compared, Line, Row, compare, current, lines, timed, way_timed, ways_of
from projects.compare.statistics import spread
from tanet.evaluation.metrics import rank_correlation
from tanet.profiling.flops import build_on_meta, count_cost

TITLES = {
    "1a": "Table 1a: α and β",
    "1b": "Table 1b: kernel and frames",
    "2": "Table 2: temporal modules",
    "3": "Table 3: 2D networks",
    "5a": "Table 5a: place in the block",
    "5b": "Table 5b: stages",
    START: "Not in the paper: TAM's kernels start near the identity, by a lead of the middle tap's logit",
}
WAYS = "Not in the paper: share of right directions by action, of videos with the right action, in per cent"
MADE = "Not in the paper: one cause of complex motion left out at a time; in brackets, difference to TAM"
TITLE = "# The paper's comparisons on open data"
MARK = "<!-- made by projects.compare.page from here on -->"
HEAD = """## How it was measured

This part is written by `python -m projects.compare.page` from `results/compare.csv` and
`results/compare_speed.csv`. Each training is there with its commit and the command that repeats it. All rows
of a benchmark are trained with the same recipe. Top-1 is in per cent, mean ± standard deviation over the
seeds. *To TAM* is the mean of the differences to TAM in the same 2D network, with the same initial weights
and seed, ± their standard deviation. It is marked \\* where it is significant by Dunnett's test at 5 %, which
compares all rows of a table with TAM at once, with one pooled variance. TAM's own row uses only the seeds
that the other rows have. Parameters and GFLOPs are counted as in the paper. Clips/s are measured in
inference: each network is a CUDA graph, and the networks take turns. `tam` and `tsm` have fused kernels; the
other modules use PyTorch's operations. The paper's figures are for ResNet-50 on Kinetics-400.

*Action* is how often the action is right, in either direction. *Order* is the share of those videos whose
direction is right as well. Every class has a counterpart that differs only in the order of frames, so a
network that is blind to order has 50 %, if single frames reveal nothing. In arrow6 they do: each direction
was encoded by itself, and from the artefacts of that such a network learns to be right in 59 %
(`results/archive/compare_as_files.csv`). So both directions of a clip are played from one file, the forward
one for every other clip. (`results/archive/compare_by_hash.csv` holds 60 earlier rows, for which the file was
drawn by a hash. It was the forward one for only 41 % of the training clips, so the order of the artefacts
still revealed a little.)

The spread over seeds does not include the choice of the videos: other videos would give other figures.
arrow6's 105 test clips, played in both directions, come from 20 recordings; the synthetic set's 500 are drawn
independently, which alone causes a spread of 2 points. Optimizers were chosen on `none` and `tsm`: arrow6's
on a part of its training videos, each played from its own file; the synthetic one on videos of another seed.
Two settings were not chosen in this way: arrow6's views, which come from a recipe that was tried with TAM,
and the scale of the synthetic tests, which was changed after rows of all modules had been seen
([LOG.md](../LOG.md)).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT / "results" / "compare.csv")
    parser.add_argument("--speed", type=Path, default=ROOT / "results" / "compare_speed.csv")
    parser.add_argument(
        "--ways",
        type=Path,
        default=ROOT / "results" / "compare_ways.csv",
        help="rows like those of --data for the table of actions, from a few runs",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "compare.md")
    flags = parser.parse_args()
    rows, ways = current(read_csv(flags.data)), current(read_csv(flags.ways))
    speeds = read_csv(flags.speed)
    if not rows:
        raise SystemExit(f"{flags.data}: no rows of the current recipes: run projects.compare.run")
    page = flags.out.read_text() if flags.out.exists() else f"{TITLE}\n\n{MARK}"
    by_hand, mark, _ = page.partition(MARK)
    if not mark:
        raise SystemExit(f"{flags.out} would be lost: it lacks the line '{MARK}'; write to another file")
    parts = [MARK, "", HEAD]
    sections: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for row in rows:
        sections.setdefault(kind(row), []).append(row)
    try:
        for key, own in sorted(sections.items()):
            parts.append(section(*key[:2], own, speeds))
            parts += draw_ways([row for row in ways if kind(row) == key])
    except ValueError as error:
        raise SystemExit(f"{flags.speed}: {error}") from error
    flags.out.parent.mkdir(parents=True, exist_ok=True)
    flags.out.write_text(by_hand + "\n".join(parts))
    print(flags.out)


def kind(row: Row) -> tuple[str, str, str]:
    """Return the values that all rows of a section share: their benchmark, changes and videos."""
    return row["benchmark"], row["changes"], row["videos"]


def section(benchmark: str, changes: str, rows: Sequence[Row], speeds: Sequence[Row]) -> str:
    """Write all tables of one benchmark, on the same videos, that have rows to compare.

    Raises:
        ValueError: the rows in `speeds` were measured under different conditions.
    """
    recipe = recipe_of(benchmark, changes)
    first, machines = rows[0], ", ".join(dict.fromkeys(row["machine"] for row in rows))
    speed = next(
        (f"timed {way_timed(row)}" for row in timed(speeds, benchmark, changes).values()), "not timed"
    )
    parts = [
        f"## {benchmark}{f' ({changes})' if changes else ''}",
        "",
        f"Training and test videos: {first['videos']}; {first['classes']} classes, {first['views']} "
        f"views, {first['epochs']} epochs; usual network {recipe.model.backbone}; trained on {machines}; "
        f"{speed}.",
        "",
    ]
    usual = [row for row in rows if not row["made"]]
    for table in TITLES:
        found = lines(table, benchmark, changes, usual, speeds)
        if len(found) > 1:  # one row is TAM itself, which is in all tables
            parts += [f"### {TITLES[table]}", "", *draw(compare(found)), ""]
    return "\n".join([*parts, *draw_made(benchmark, changes, rows)])


def draw(found: Sequence[Compared]) -> list[str]:
    """Draw a table. Below a long table, a sentence compares its order with the paper's."""
    out = [
        "| row | start | parameters | GFLOPs | clips/s | top-1 | to TAM | action | order | seeds | paper |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for compared in found:
        line = compared.line
        count = count_cost(build_on_meta(line.case.model, classes=line.classes), size=line.size).total
        cells = [
            f"`{line.row}`",
            line.start,
            f"{count.parameters / 1e6:.2f} M",
            f"{count.paper_flops / 1e9:.2f}",
            f"{line.clips_s:,.0f}" if line.clips_s else "",
            spread(list(line.top1.values())),
            difference(compared),
            spread(list(line.action.values())),
            spread(list(line.order.values())),
            str(len(line.top1)),
            "" if line.paper is None else f"{line.paper:.1f}",
        ]
        out.append(f"| {' | '.join(cells)} |")
    return [*out, *ranking([compared.line for compared in found])]


def draw_made(benchmark: str, changes: str, rows: Sequence[Row]) -> list[str]:
    """Draw a table of the modules on the data set and its variants; an empty list if there is no variant."""
    sets = sorted({row["made"] for row in rows})
    if not any(sets):
        return []
    by_set = []
    for made in sets:
        found = compare(lines("2", benchmark, changes, [row for row in rows if row["made"] == made], []))
        by_set.append({(of.line.row, of.line.start): of for of in found})
    out = [
        f"### {MADE}",
        "",
        "Values without ± are from one seed.",
        "",
        f"| row | start | {' | '.join(made or 'all' for made in sets)} |",
        "|---" * (len(sets) + 2) + "|",
    ]
    keys = dict.fromkeys(key for made, of_set in zip(sets, by_set, strict=True) if made for key in of_set)
    for key in keys:
        cells = [brief(of_set[key]) if key in of_set else "" for of_set in by_set]
        out.append(f"| `{key[0]}` | {key[1]} | {' | '.join(cells)} |")
    return [*out, ""]


def draw_ways(rows: Sequence[Row]) -> list[str]:
    """Draw a table of how often the direction of each action is right: one line per module and data set."""
    if not rows:
        return []
    told: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for row in rows:
        told.setdefault((row["made"] or "all", row["case"], row["start"]), []).append(ways_of(row))
    actions = list(dict.fromkeys(action for runs in told.values() for run in runs for action in run))
    seeds, machines = (", ".join(dict.fromkeys(row[of] for row in rows)) for of in ("seed", "machine"))
    out = [
        f"### {WAYS}",
        "",
        f"Seed {seeds}, trained on {machines}.",
        "",
        f"| set | row | start | {' | '.join(actions)} |",
        "|---" * (len(actions) + 3) + "|",
    ]
    for (made, case, start), runs in sorted(told.items()):
        cells = [spread([100 * run[action] for run in runs if action in run]) for action in actions]
        out.append(f"| {made} | `{case}` | {start} | {' | '.join(cells)} |")
    return [*out, ""]


def brief(compared: Compared) -> str:
    """Format top-1, and in brackets the difference to TAM."""
    text = spread(list(compared.line.top1.values()))
    return f"{text} ({difference(compared)})" if compared.differences else text


def difference(compared: Compared) -> str:
    """Format the difference to TAM, mean ± standard deviation; marked with * if it is significant."""
    return spread(compared.differences, sign="+") + (" \\*" if compared.told_apart else "")


def ranking(found: Sequence[Line]) -> list[str]:
    """Compare the order of six or more rows with the paper's. Agreement of fewer could be chance."""
    papers = [line.paper for line in found if line.paper is not None]
    if len(papers) < len(found) or len(found) < 6:
        return []
    means = [fmean(line.top1.values()) for line in found]
    return [
        "",
        f"Rank correlation of this order and the paper's: {rank_correlation(means, papers):+.2f} "
        "(1: the same order, -1: the reverse).",
    ]


if __name__ == "__main__":
    main()

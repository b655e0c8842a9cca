"""Plot each module's accuracy against its measured time → docs/compare-BENCHMARK.svg.

    python -m projects.compare.plot --benchmark arrow6

The horizontal axis is milliseconds per clip, measured by projects.compare.speed. The vertical axis is top-1,
with its standard deviation over seeds, measured by projects.compare.run. A line joins the Pareto-optimal
modules: no other module is both faster and more accurate. If the vertical axis is broken, the line is too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from bench.common import ROOT, one_line_errors
from bench.flags import command
from projects.compare.against import NEEDED
from projects.compare.cases import BENCHMARKS
from projects.compare.results import SPEEDS, Line, Row, current, lines, read_results, timed
from tanet.errors import UserError
from tanet.visualization.figures import require_plots

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OWN, OTHER, LINE = "#D55E00", "#0072B2", "#999999"  # colours that colour-blind people can distinguish
OF_TAM = ("tam", "tanet-r", "global", "local", "global+se")


@dataclass(frozen=True)
class Point:
    """A module in the plot."""

    name: str
    ms: float
    """Milliseconds per clip."""
    top1: float
    """Top-1 in per cent, mean over seeds."""
    deviation: float


@one_line_errors()
def main() -> None:
    parser = command("projects.compare.plot", __doc__)
    parser.add_argument("--benchmark", choices=list(BENCHMARKS), required=True)
    parser.add_argument("--table", default="2", help="table of the paper")
    parser.add_argument("--changes", default="", help="value of the column `changes` of the rows to plot")
    parser.add_argument("--data", type=Path, default=ROOT / "results" / "compare.csv")
    parser.add_argument("--speed", type=Path, default=ROOT / "results" / "compare_speed.csv")
    parser.add_argument("--out", type=Path, help="file to write (default: docs/compare-BENCHMARK.svg)")
    flags = parser.parse_args()
    out = flags.out or ROOT / "docs" / f"compare-{flags.benchmark}.svg"
    require_plots()
    accuracies = current(read_results(flags.data, NEEDED))
    speeds = read_results(flags.speed, SPEEDS)
    timings = timed(speeds, flags.benchmark, flags.changes)
    found = points(flags.benchmark, flags.changes, flags.table, accuracies, speeds)
    if not found:
        raise SystemExit(
            f"no case of {flags.benchmark} has accuracy and speed; run projects.compare.run and .speed"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    draw(found, title=flags.benchmark, machine=next(iter(timings.values()))["machine"], out=out)
    print(out)


def points(
    benchmark: str, changes: str, table: str, accuracies: Sequence[Row], speeds: Sequence[Row]
) -> list[Point]:
    """Return a point for each case of the table that has both accuracy and speed.

    Raises:
        UserError: the cases were trained on different videos, a case was trained from two kinds of initial
            weights, or the cases were timed under different conditions.
    """
    key = (benchmark, changes, "")
    own = [row for row in accuracies if (row["benchmark"], row["changes"], row["made"]) == key]
    if len(videos := sorted({row["videos"] for row in own})) > 1:
        raise UserError(
            f"{benchmark} was trained on several sets of videos; keep the rows of one: {', '.join(videos)}"
        )
    found: dict[str, Line] = {}
    for line in lines(table, benchmark, changes, own, speeds):
        if (other := found.setdefault(line.case.name, line)).start != line.start:
            raise UserError(
                f"{line.case.name} was trained from {other.start} and from {line.start}; keep the rows of one"
            )
    return [
        Point(name, 1e3 / line.clips_s, fmean(top1), stdev(top1) if len(top1) > 1 else 0.0)
        for name, line in found.items()
        if line.clips_s
        for top1 in [list(line.top1.values())]
    ]


def frontier(found: list[Point]) -> list[Point]:
    """Return the Pareto-optimal points, fastest first: no other point is both faster and more accurate."""
    best: list[Point] = []
    for point in sorted(found, key=lambda point: (point.ms, -point.top1)):
        if not best or point.top1 > best[-1].top1:
            best.append(point)
    return best


def bands(found: Sequence[Point]) -> list[tuple[float, float]]:
    """Return the ranges of accuracy to show, highest first. Large gaps without points are left out."""
    whole = max(point.top1 for point in found) - min(point.top1 for point in found)
    parts: list[tuple[float, float]] = []
    for point in sorted(found, key=lambda point: -point.top1):
        low, high = point.top1 - point.deviation, point.top1 + point.deviation
        if parts and parts[-1][0] - high <= 0.4 * whole:
            parts[-1] = (min(parts[-1][0], low), max(parts[-1][1], high))
        else:
            parts.append((low, high))
    return parts


def draw(found: list[Point], *, title: str, machine: str, out: Path) -> None:
    """Draw the points and save the figure."""
    from matplotlib.figure import Figure

    shown = bands(found)
    figure = Figure((8, 5.2), layout="constrained")
    panels = figure.subplots(
        len(shown), sharex=True, squeeze=False, height_ratios=[max(5.0, high - low) for low, high in shown]
    )[:, 0]
    for axes, (low, high) in zip(panels, shown, strict=True):
        inside = [point for point in found if low <= point.top1 <= high]
        edge = [point for point in frontier(found) if point in inside]
        axes.plot(
            [point.ms for point in edge], [point.top1 for point in edge], color=LINE, linewidth=1, zorder=1
        )
        for label, color in (("TAM and its parts", OWN), ("other modules", OTHER)):
            group = [point for point in inside if (point.name in OF_TAM) == (color == OWN)]
            axes.errorbar(
                [point.ms for point in group],
                [point.top1 for point in group],
                [point.deviation for point in group],
                fmt="o",
                color=color,
                elinewidth=0.8,
                label=label,
            )
        for point in inside:
            axes.annotate(point.name, (point.ms, point.top1), (5, 4), textcoords="offset points", fontsize=9)
        space = 0.08 * (high - low) + 0.5
        axes.set_ylim(low - space, high + space)
        axes.grid(color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
    for above, below in pairwise(panels):  # mark the break of the axis between two neighbouring panels
        above.spines.bottom.set_visible(False)
        above.tick_params(bottom=False)
        below.spines.top.set_visible(False)
        marks = {"marker": [(-1, -0.6), (1, 0.6)], "markersize": 9, "linestyle": "none", "color": "k"}
        above.plot([0, 1], [0, 0], transform=above.transAxes, clip_on=False, **marks)
        below.plot([0, 1], [1, 1], transform=below.transAxes, clip_on=False, **marks)
    panels[0].margins(x=0.1)
    panels[-1].legend(fontsize=9, loc="lower right")
    panels[-1].set_xlabel(f"milliseconds for a clip, {machine}")
    figure.supylabel("top-1, %", fontsize=10)
    panels[0].set_title(
        f"{title}: accuracy against measured time (bars: ± standard deviation over seeds)", fontsize=11
    )
    save_figure(figure, out, salt=title)


def save_figure(figure: "Figure", out: Path, *, salt: str) -> None:
    """Save a figure. Matplotlib derives the ids in an SVG from `salt`, so equal results give equal files."""
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": salt}):
        figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)


if __name__ == "__main__":
    main()

"""Plot the accuracy of whole systems against GFLOPs and measured time → docs/compare-systems.svg.

    python -m projects.compare.plot_systems

Top-1 comes from rows of projects.compare.run, with the standard deviation over seeds; milliseconds per clip
(of a batch) come from projects.compare.speed; GFLOPs are counted as in the paper. The horizontal axes are
logarithmic.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from bench.common import ROOT, one_line_errors
from bench.flags import command
from projects.compare import against
from projects.compare.cases import OTHERS, cases, recipe_id, recipe_of
from projects.compare.plot import OTHER, OWN, save_figure
from projects.compare.results import SPEEDS, read_results, timed, way_timed
from projects.compare.statistics import spread
from tanet.errors import UserError
from tanet.profiling.flops import build_on_meta, count_cost
from tanet.recipes.recipe import Network2D
from tanet.visualization.figures import require_plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BENCHMARK = "synthetic"
NEEDED = (*against.NEEDED, "classes")
"""Columns that a file must have."""
PLACES = [
    (side * right, up)
    for right, ups in ((7, (0, 6, -6)), (14, (13, -13)), (24, (22, -22)))
    for up in ups
    for side in (1, -1)
]
"""Offsets of a name from its point, in typographic points, best first."""


@dataclass(frozen=True)
class System:
    """A system, and what was measured."""

    name: str
    two_d: bool
    parameters: int
    gflops: float
    ms: float
    top1: list[float]
    """In per cent, one for each seed."""


@one_line_errors()
def main(words: Sequence[str] | None = None) -> None:
    parser = command("projects.compare.plot_systems", __doc__)
    parser.add_argument("rows", type=Path, nargs="?", default=ROOT / "results" / "compare_systems.csv")
    parser.add_argument("--speed", type=Path, default=ROOT / "results" / "compare_systems_speed.csv")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "compare-systems.svg")
    flags = parser.parse_args(words)
    require_plots()
    found, conditions = systems(read_results(flags.rows, NEEDED), read_results(flags.speed, SPEEDS))
    if not found:
        raise SystemExit(
            f"no system is in both {flags.rows} and {flags.speed}; run projects.compare.run and .speed"
        )
    print("\n".join(table(found, conditions)))
    flags.out.parent.mkdir(parents=True, exist_ok=True)
    draw(found, flags.out)
    print(flags.out)


def systems(rows: Sequence[dict[str, str]], speeds: Sequence[dict[str, str]]) -> tuple[list[System], str]:
    """Return the systems that have both accuracy and time, and the conditions of the timing.

    Raises:
        UserError: the rows of a system cannot be averaged.
    """
    times = timed(speeds, BENCHMARK, "")
    recipe, found = recipe_of(BENCHMARK, ""), []
    used = recipe_id(recipe)
    for case in cases([OTHERS], recipe):
        key = {"benchmark": BENCHMARK, "recipe": used, "case": case.name, "made": "", "changes": ""}
        own = [row for row in rows if all(row[name] == value for name, value in key.items())]
        if not own or case.name not in times:
            continue
        if len({row["videos"] for row in own}) > 1 or len({row["seed"] for row in own}) < len(own):
            raise UserError(f"'{case.name}' has rows of other videos, or two of one seed; keep one of them")
        classes = int(own[0]["classes"])
        total = count_cost(build_on_meta(case.model, classes=classes), size=recipe.eval.size).total
        found.append(
            System(
                name=case.name,
                two_d=isinstance(case.model, Network2D),
                parameters=total.parameters,
                gflops=total.paper_flops / 1e9,
                ms=1e3 / float(times[case.name]["clips_s"]),
                top1=[100 * float(row["val_top1"]) for row in own],
            )
        )
    return found, next((way_timed(row) for row in times.values()), "")


def table(found: Sequence[System], conditions: str) -> list[str]:
    """Return the lines of a table in Markdown, the most accurate system first."""
    out = [
        f"Timed {conditions}.",
        "",
        "| system | parameters | GFLOPs | ms per clip | top-1 | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for system in sorted(found, key=lambda system: -fmean(system.top1)):
        cells = (f"{system.parameters / 1e6:.2f} M", f"{system.gflops:.2f}", f"{system.ms:.3f}")
        out.append(f"| `{system.name}` | {' | '.join(cells)} | {spread(system.top1)} | {len(system.top1)} |")
    return out


def draw(found: Sequence[System], out: Path) -> None:
    """Draw two panels with a common vertical axis, and save the figure."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    figure = Figure((10, 6.5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, of, label in zip(
        panels, ("gflops", "ms"), ("GFLOPs per clip", "milliseconds per clip"), strict=True
    ):
        for kind, two_d, color in (("2D network with modules", True, OWN), ("3D network", False, OTHER)):
            group = [system for system in found if system.two_d == two_d]
            axes.errorbar(
                [getattr(system, of) for system in group],
                [fmean(system.top1) for system in group],
                [stdev(system.top1) if len(system.top1) > 1 else 0.0 for system in group],
                fmt="o",
                color=color,
                elinewidth=0.8,
                label=kind,
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(label)
        axes.margins(x=0.15)
        axes.grid(color="#DDDDDD", linewidth=0.6)
        axes.set_axisbelow(True)
    panels[0].set_ylabel("top-1, %")
    panels[1].legend(fontsize=9, loc="lower right")
    figure.draw_without_rendering()  # sets the scales of the axes, for `_write_names`
    for axes, of in zip(panels, ("gflops", "ms"), strict=True):
        _write_names(axes, {system.name: (getattr(system, of), fmean(system.top1)) for system in found})
    save_figure(figure, out, salt="systems")


def _write_names(axes: "Axes", points: Mapping[str, tuple[float, float]]) -> None:
    """Write each name beside its point, in the first of `PLACES` where it covers no point and no name."""
    from matplotlib.transforms import Bbox

    dots = [
        Bbox.from_extents(x - 3, y - 3, x + 3, y + 3) for x, y in axes.transData.transform([*points.values()])
    ]
    taken: list[Bbox] = []
    for name, point in points.items():
        for place, (right, up) in enumerate(PLACES):
            text = axes.annotate(
                name,
                point,
                (right, up),
                textcoords="offset points",
                fontsize=8,
                horizontalalignment="left" if right > 0 else "right",
                verticalalignment="center",
                arrowprops={"arrowstyle": "-", "color": "#999999", "linewidth": 0.6} if place > 5 else None,
            )
            box = text.get_window_extent()
            if place == len(PLACES) - 1 or not box.count_overlaps([*dots, *taken]):
                taken.append(box)
                break
            text.remove()


if __name__ == "__main__":
    main()

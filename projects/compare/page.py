"""Write the rows of run.py and speed.py as tables, with the paper's figures → docs/compare.md.

    python -m projects.compare.page

The tables show all figures without comment, even if their order differs from the paper's. The page begins
with text that was written by hand. This command keeps that text, and replaces the rest of the page.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from bench.common import ROOT, one_line_errors
from bench.flags import command
from projects.compare import against, plot_systems, ways
from projects.compare.against import FORM
from projects.compare.cases import START, network_of, recipe_of
from projects.compare.results import (
    SPEEDS,
    Compared,
    Line,
    Row,
    compare,
    current,
    lines,
    read_results,
    timed,
    way_timed,
    ways_of,
)
from projects.compare.statistics import spread
from tanet.evaluation.metrics import rank_correlation
from tanet.profiling.flops import build_on_meta, count_cost
from tanet.runtime.files import text_bytes, write_atomically

TITLES = {
    "1a": "Table 1a: α and β",
    "1b": "Table 1b: kernel and frames",
    "2": "Table 2: temporal modules",
    "3": "Table 3: 2D networks",
    "5a": "Table 5a: place in the block",
    "5b": "Table 5b: stages",
    START: "Not in the paper: TAM's initial kernels are near the identity (row: lead of the middle tap)",
}
WAYS = "Not in the paper: right directions of each action, in per cent of the videos whose action is right"
MADE = "Not in the paper: top-1 without one cause of complex motion; in brackets, the difference to TAM"
TITLE = "# The paper's comparisons on open data"
STATIC_CASE = f"tam {FORM}shift"
STATIC_LEVEL = 2.5
"""Level of Dunnett's test in the section STATIC, in per cent."""
STATIC = f"""## Not in the paper: static kernels

`{STATIC_CASE}` uses the kernel G + S of K taps: G is TAM's adaptive kernel, and S is a learned kernel for
each channel, which does not depend on the clip ([docs/python.md](python.md#networks)). It was chosen among
some 60 forms and settings of TAM, on other synthetic videos and other seeds ([LOG.md](../LOG.md); the last
twelve: `results/compare_static_choice.csv`); the others had no such search. `local {FORM}shift` has no
adaptive kernels: its kernels are 1/K + S. *Lead* is the top-1 of `{STATIC_CASE}` minus that of the row on the
same seeds, in points, with a simultaneous {100 - STATIC_LEVEL} % interval; a \\* marks a significant lead
(Dunnett's test; the other modules and the other forms are tested separately). With a moving camera, the test
was done twice. After 15 seeds, at 5 %, the lead over I3D (1.1) was not significant. We then fixed a second
test, over 30 seeds at {STATIC_LEVEL} %, and ran 15 more; they alone give the same result
([LOG.md](../LOG.md)). The chance of a false lead in either test is at most 7.5 %. The set with a still camera
was tested once, at the same level. *Without S* is the top-1 of the trained network with S removed; *without
G*, that with all adaptive weights set to 1/K. Neither was trained again.
"""
FOLDS = f"""### On real videos: ways

ways is arrow6 and the eight actions of JHMDB whose direction can be seen (stand, golf, pick, push, throw,
kick_ball, shoot_bow, pour). Each clip is played in both directions. The network is MobileNetV2 from ImageNet
weights, trained for 26 epochs. With each seed, every video is tested once, by a network that saw no clip of
its group (the same recording or film). *Lead* is the top-1 of `{STATIC_CASE}` minus that of the row,
with a simultaneous 95 % interval from resampling groups and seeds (Bonferroni's correction; two seeds say
little about the spread over seeds); a \\* marks a significant lead. The other modules and the other form are
tested separately. *Could show* is the smallest lead that this comparison finds significant with a probability
of 80 %; the last column, the number of videos with which it would find 2 points.
"""
DISTILLED = """### On real videos, after distillation

The same comparison, except for the start: from ImageNet weights, each network first learned to imitate I3D
(Kinetics-400) on all clips of ways, in both directions and without labels, for 30 epochs
(projects/compare/distil.py). So each saw the clips on which it was tested, but not their labels.
"""
SYSTEMS = """## synthetic: whole systems

Networks of the paper's Tables 4 and 6, and variants with TAM, trained from scratch with one recipe
(projects/compare/systems.py). All are narrow except S3D-G and ECO-Lite. 2D networks see 8 frames (`tanet 16f`
16), SlowFast 32, ECO-Lite and the other 3D networks 16; `i3d` is the 2D network with inflated convolutions.
Seeds 30 to 32; differences were not tested. `tsm`, `teinet`, `i3d`, `tanet` and `tanet static` have the
results of the section on static kernels. As in section 4.4 of the paper, `slowfast tam` has a 1×1×1
convolution and a TAM in the place of each 3×1×1 convolution of `slowfast`. *Static*: with static kernels,
which start as the shift.

![synthetic: accuracy of whole systems against GFLOPs and time](compare-systems.svg)
"""
NEEDED = {
    "data": against.NEEDED,
    "speed": SPEEDS,
    "ways": (*against.NEEDED, "val_ways"),
    "static": against.NEEDED,
    "folds": ways.NEEDED,
    "distilled": ways.NEEDED,
    "systems": plot_systems.NEEDED,
    "systems_speed": SPEEDS,
}
"""Columns that the file of each flag must have."""
MARK = "<!-- made by projects.compare.page from here on -->"
HEAD = """## How it was measured

`python -m projects.compare.page` writes this part from the files `results/compare*.csv` that its flags name.
They hold the commit of each training and the command that repeats it. All rows of a benchmark are
trained with the same recipe.

*Top-1* is in per cent: mean ± standard deviation over the seeds. *To TAM* is the difference to TAM in the
same 2D network, with the same initial weights and the same seed: mean ± standard deviation over the seeds. A
\\* marks a significant difference, by Dunnett's test at 5 %. This test compares all rows of a table with TAM
at once, with one pooled variance. TAM's own row uses only the seeds that the other rows have. Parameters and
GFLOPs are counted as in the paper. *Clips/s* is the speed of inference: each network is captured as a CUDA
graph, and the networks take turns. `tam` and `tsm` have fused kernels; the other modules use PyTorch's
operations. The column *paper* has the paper's top-1 on Kinetics-400. The paper's network is ResNet-50, except
in Table 3.

*Action* is the share of videos whose action is right, in either direction. *Order* is the share of these
videos whose direction is right as well. Every class has a counterpart that differs only in the order of
frames. So a network that ignores the order has 50 %, unless single frames reveal the direction. In arrow6's
own files they do: the two directions of a clip were encoded separately, and the artefacts differ. From these
artefacts, a network that ignores the order learns to get 59 % of the directions right
(`results/archive/compare_as_files.csv`). So both directions of a clip are played from the same file: the
forward file for every other clip, and the backward file for the rest. (In 60 earlier rows,
`results/archive/compare_by_hash.csv`, a hash chose the file. It chose the forward file for only 41 % of the
training clips, so the order of the artefacts still revealed a little.)

The spread over seeds does not include the choice of the videos: other videos would give other figures.
arrow6's 105 test clips, which are played in both directions, come from 20 recordings. The 500 test clips of
the synthetic set are drawn independently, which alone causes a spread of 2 points. The optimizers were chosen
on `none` and `tsm`. For arrow6, this was done on a part of the training videos, each played from its own
file; for the synthetic set, on videos of another seed. Two settings were not chosen in this way. arrow6's
views come from a recipe that was tried with TAM. The scale of the synthetic tests was changed after rows of
all modules had been seen ([LOG.md](../LOG.md)).
"""


@one_line_errors()
def main() -> None:
    parser = command("projects.compare.page", __doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "results" / "compare.csv")
    parser.add_argument("--speed", type=Path, default=ROOT / "results" / "compare_speed.csv")
    parser.add_argument(
        "--ways",
        type=Path,
        default=ROOT / "results" / "compare_ways.csv",
        help="rows for the table of directions, like those of --data",
    )
    parser.add_argument("--static", type=Path, default=ROOT / "results" / "compare_static.csv")
    parser.add_argument("--folds", type=Path, default=ROOT / "results" / "compare_folds.csv")
    parser.add_argument("--distilled", type=Path, default=ROOT / "results" / "compare_distilled.csv")
    parser.add_argument(
        "--clips",
        type=Path,
        default=ways.CLIPS,
        help="clips of --folds and --distilled: a folder, or a list (ways.py)",
    )
    parser.add_argument("--systems", type=Path, default=ROOT / "results" / "compare_systems.csv")
    parser.add_argument("--systems-speed", type=Path, default=ROOT / "results" / "compare_systems_speed.csv")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "compare.md")
    flags = parser.parse_args()
    measured = {name: read_results(getattr(flags, name), columns) for name, columns in NEEDED.items()}
    clips = ways.clips_of(flags.clips)
    rows, directions = current(measured["data"]), current(measured["ways"])
    speeds = measured["speed"]
    if not rows:
        raise SystemExit(f"{flags.data}: no rows of the current recipes; run projects.compare.run first")
    # `text_bytes` writes back the bytes of another encoding as they were.
    page = flags.out.read_text(errors="surrogateescape") if flags.out.exists() else f"{TITLE}\n\n{MARK}"
    by_hand, mark, _ = page.partition(MARK)
    if not mark:
        raise SystemExit(
            f"{flags.out} would be lost, because it lacks the line '{MARK}'; choose another file for --out"
        )
    parts = [MARK, "", HEAD]
    sections: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for row in rows:
        sections.setdefault(kind(row), []).append(row)
    for key, own in sorted(sections.items()):
        parts.append(section(*key[:2], own, speeds))
        parts += draw_ways([row for row in directions if kind(row) == key])
    if static := measured["static"]:
        parts += [STATIC, *against.tables(static, STATIC_CASE, level=STATIC_LEVEL)]
    for name, text in (("folds", FOLDS), ("distilled", DISTILLED)):
        if measured[name]:
            parts += [text, *ways.table_of(getattr(flags, name), measured[name], clips, STATIC_CASE), ""]
    found, conditions = plot_systems.systems(measured["systems"], measured["systems_speed"])
    if found:
        parts += [SYSTEMS, *plot_systems.table(found, conditions), ""]
    write_atomically(flags.out, text_bytes(by_hand + "\n".join(parts)))
    print(flags.out)


def kind(row: Row) -> tuple[str, str, str]:
    """Return the values that all rows of a section of the page share: benchmark, changes and videos."""
    return row["benchmark"], row["changes"], row["videos"]


def section(benchmark: str, changes: str, rows: Sequence[Row], speeds: Sequence[Row]) -> str:
    """Return the section of one benchmark: a text, and every table that has rows to compare.

    All `rows` must have the same changes and the same videos.

    Raises:
        UserError: the rows in `speeds` were measured under different conditions.
    """
    recipe = recipe_of(benchmark, changes)
    usual_network = network_of(recipe).backbone
    first, machines = rows[0], ", ".join(dict.fromkeys(row["machine"] for row in rows))
    speed = next(
        (f"timed {way_timed(row)}" for row in timed(speeds, benchmark, changes).values()), "not timed"
    )
    parts = [
        f"## {benchmark}{f' ({changes})' if changes else ''}",
        "",
        f"Training and test videos: {first['videos']}; {first['classes']} classes, {first['views']} "
        f"views, {first['epochs']} epochs; usual network {usual_network}; trained on {machines}; "
        f"{speed}.",
        "",
    ]
    usual = [row for row in rows if not row["made"]]
    for table in TITLES:
        found = lines(table, benchmark, changes, usual, speeds)
        if len(found) > 1:  # with one row only, the row is TAM itself, which is in all tables
            parts += [f"### {TITLES[table]}", "", *draw(compare(found)), ""]
    return "\n".join([*parts, *draw_made(benchmark, changes, rows)])


def draw(found: Sequence[Compared]) -> list[str]:
    """Return the lines of a table in Markdown; for a long table, add the result of `ranking`."""
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
    """Return the lines of a table of the modules on the data set and on its variants, if there are any."""
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
    """Return the lines of a table: how often each action's direction is right, by data set and module."""
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
    """Format the top-1 of a line, with its difference to TAM in brackets."""
    text = spread(list(compared.line.top1.values()))
    return f"{text} ({difference(compared)})" if compared.differences else text


def difference(compared: Compared) -> str:
    """Format the difference to TAM as mean ± standard deviation, with a * if it is significant."""
    return spread(compared.differences, sign="+") + (" \\*" if compared.told_apart else "")


def ranking(found: Sequence[Line]) -> list[str]:
    """Return a sentence that compares the order of the rows with the paper's.

    Return an empty list if there are fewer than six rows, because these could agree by chance.
    """
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

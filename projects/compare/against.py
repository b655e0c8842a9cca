"""Compare one case of a results file with all others (Dunnett's test).

    python -m projects.compare.against results/compare_static.csv --case "tam static_kernel=shift" --level 2.5

There is a table for each set of videos and each change of the recipe. *Lead* is the top-1 of the case minus
that of the row, in points, on the seeds that both have, with its simultaneous confidence interval; a * marks
a significant lead. Rows with static kernels (`static_kernel=` in the name) and the other modules are two
families, tested separately. `--level` is the chance, in per cent, that a family has a significant lead
although no row truly differs; the intervals are at 100 % minus the level. If you test n times, divide it by
n.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from bench.common import one_line_errors
from bench.flags import command
from projects.compare.results import read_results
from projects.compare.statistics import Apart, dunnett, spread
from tanet.errors import UserError

COLUMNS = {"val_top1": "top-1", "val_action": "action", "val_order": "order"}
SET = ("benchmark", "recipe", "changes", "videos", "start", "made")
"""Columns whose values are the same in all rows of a table."""
FORM = "static_kernel="
"""Text in the names of forms of TAM with static kernels."""
NEEDED = (*SET, "case", "seed", *COLUMNS)
"""Columns that a file must have."""
WITHOUT = {"without_s": "without S", "without_g": "without G"}


@one_line_errors()
def main(words: Sequence[str] | None = None) -> None:
    parser = command("projects.compare.against", __doc__)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--case", required=True, help="case to compare the others with")
    parser.add_argument(
        "--level", type=significance, default=5.0, help="level of the test, in per cent (default: 5)"
    )
    flags = parser.parse_args(words)
    if not (rows := read_results(flags.rows, NEEDED)):
        raise UserError(f"{flags.rows}: no rows; run projects.compare.run --out {flags.rows} first")
    print("\n".join(tables(rows, flags.case, level=flags.level)))


def significance(text: str) -> float:
    """Read a level of significance, in per cent."""
    if not 0 < (number := float(text)) < 100:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 100")
    return number


def tables(rows: Sequence[Mapping[str, str]], case: str, *, level: float) -> list[str]:
    """Return the lines of a table in Markdown for each set of videos and each change of the recipe.

    Args:
        rows: rows of a results file.
        case: name of the case to compare with the others.
        level: level of the test, in per cent.

    Raises:
        UserError: a set has no row of the case, or its rows cannot be compared.
    """
    sets: dict[tuple[str, ...], list[Mapping[str, str]]] = {}
    for row in rows:
        sets.setdefault(tuple(row[name] for name in SET), []).append(row)
    out = []
    for key, own in sorted(sets.items()):
        title = ", ".join(value for name, value in zip(SET, key, strict=True) if value and name != "recipe")
        if "fold " in title:
            raise UserError("these rows are of folds; compare them with projects.compare.ways")
        try:
            out += [f"**{title}**", "", *_table(own, case, level=level), ""]
        except UserError as error:
            raise UserError(f"{title}: {error}") from error
    return out


def _table(rows: Sequence[Mapping[str, str]], case: str, *, level: float) -> list[str]:
    runs: dict[str, dict[int, Mapping[str, str]]] = {}
    for row in rows:
        if runs.setdefault(row["case"], {}).setdefault(int(row["seed"]), row) is not row:
            raise UserError(f"'{row['case']}' has two rows of seed {row['seed']}; keep one of them")
    if case not in runs:
        raise UserError(f"no row of '{case}'; its cases: {', '.join(runs)}")
    seeds = {name: sorted(own.keys() & runs[case].keys()) for name, own in runs.items()}
    if lacking := [name for name in runs if not seeds[name]]:
        raise UserError(f"'{lacking[0]}' and '{case}' have no seed in common")
    found = {
        name: {column: [_per_cent(own[seed][column]) for seed in seeds[name]] for column in COLUMNS}
        for name, own in runs.items()
    }
    top1 = {name: dict(zip(seeds[name], found[name]["val_top1"], strict=True)) for name in runs}
    leads: dict[str, Apart | None] = {}
    for names in families(runs, case):
        references = [None, *[0] * len(names)]
        found_leads = dunnett([top1[name] for name in (case, *names)], references, chance=level / 100)
        leads |= zip(names, found_leads[1:], strict=True)
    parts = {column: text for column, text in WITHOUT.items() if runs[case][seeds[case][0]].get(column)}
    out = [
        f"Seeds {_ranges(seeds[case])}.",
        "",
        f"| case | {' | '.join([*COLUMNS.values(), *parts.values()])} | lead | seeds |",
        "|---" * (len(COLUMNS) + len(parts) + 3) + "|",
    ]
    for name in sorted(found, key=lambda name: -fmean(found[name]["val_top1"])):
        cells = [spread(values) for values in found[name].values()]
        for column in parts:
            texts = [runs[name][seed][column] for seed in seeds[name]]
            cells.append(spread([_per_cent(text) for text in texts if text]))
        lead = leads.get(name)
        mark = " \\*" if lead is not None and lead.significant else ""
        cells.append("" if lead is None else f"{-lead.mean:+.1f} ± {lead.margin:.1f}{mark}")
        out.append(f"| `{name}` | {' | '.join(cells)} | {len(seeds[name])} |")
    return out


def families(names: Iterable[str], case: str) -> tuple[list[str], list[str]]:
    """Return the names to compare with a case, in groups to test separately: modules, and forms of TAM."""
    others = [name for name in names if name != case]
    return [name for name in others if FORM not in name], [name for name in others if FORM in name]


def _ranges(numbers: Sequence[int]) -> str:
    """Format ascending numbers: `3, 5 to 7`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def _per_cent(text: str) -> float:
    return 100 * float(text)


if __name__ == "__main__":
    main()

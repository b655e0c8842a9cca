"""Run a benchmark by name, and write its rows to results/NAME.csv.

    python -m bench --list
    python -m bench speed --help

A benchmark is a module of this package. Its function `rows(flags)` yields the rows. A benchmark can also
define the following names:

- `flags(parser)` adds flags to the command.
- `PACKAGES` names the packages whose versions each row records (default: torch).
- `KEY` names the columns that identify a row. A new row replaces the old row with the same key, and all
  other rows of the file stay. Without `KEY`, the new rows replace all old rows of the file.
"""

import ast
import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.common import ROOT, head, one_line_errors, read_rows, write_csv
from bench.flags import command
from tanet.runtime.files import check_outputs

# Kind of benchmark → names of the benchmarks, which are modules of this package.
BENCHMARKS = {
    "speed and memory": (
        "speed",
        "speed3d",
        "hybrids",
        "cpu",
        "ops",
        "scaling",
        "labelling",
        "versions",
        "watch",
        "serve",
    ),
    "reading videos": ("decode", "feeding", "shards", "views", "flow"),
    "accuracy": (
        "verbs",
        "short_training",
        "starts",
        "actions",
        "two_streams",
        "timeline",
        "export",
        "frame_input",
        "int8",
    ),
}


@one_line_errors()
def main(words: Sequence[str] | None = None) -> None:
    words = sys.argv[1:] if words is None else words
    known = [name for names in BENCHMARKS.values() for name in names]
    if not words or words[0] in ("--list", "-h", "--help"):
        print("usage: python -m bench NAME [--help] [OPTIONS]")
        for kind, names in BENCHMARKS.items():
            print(f"\n{kind}")
            for name in names:
                print(f"  {name:14} {summary(name)}")
        return
    name = words[0]
    if name not in known:
        raise SystemExit(f"unknown benchmark '{name}'; choose from {', '.join(known)}")
    run(name, words[1:])


def summary(name: str) -> str:
    """Return the first line of a benchmark's docstring, without importing the module."""
    source = Path(__file__).with_name(f"{name}.py").read_text()
    return (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]


def run(name: str, words: Sequence[str]) -> None:
    """Run a benchmark; print and save each row as soon as it is measured."""
    module = importlib.import_module(f"bench.{name}")
    parser = command(f"bench {name}", module.__doc__)
    if hasattr(module, "flags"):
        module.flags(parser)
    default = Path("results") / f"{name}.csv"
    parser.add_argument("--out", type=Path, help=f"file to write (default: {default})")
    flags = parser.parse_args(words)
    out = flags.out or ROOT / default
    first = head(*getattr(module, "PACKAGES", ("torch",)))
    key = getattr(module, "KEY", ())
    old = read_rows(out, key) if out.exists() else []  # checked now: no measurement is lost
    check_outputs(out)
    rows: list[Mapping[str, object]] = []
    for row in module.rows(flags):
        show(row, titles=not rows)
        rows.append({**first, **row})
        new = {tuple(str(row[column]) for column in key) for row in rows}
        kept = [row for row in old if tuple(row[column] for column in key) not in new] if key else []
        write_csv(out, [*kept, *rows])
    if rows:
        print(f"{len(rows)} rows in {out}")


def show(row: Mapping[str, object], *, titles: bool) -> None:
    """Print a row in columns. If `titles` is true, print the names of the columns first."""
    if titles:
        print(*(f"{name:>8}" for name in row), sep="  ")
    print(*(f"{value!s:>{max(8, len(name))}}" for name, value in row.items()), sep="  ", flush=True)


if __name__ == "__main__":
    main()

"""Run a benchmark by name.

python -m bench --list
python -m bench speed --help
"""

import ast
import importlib
import sys
from pathlib import Path

# Kind of benchmark → names of modules in this package, each of which has a function `main`.
BENCHMARKS = {
    "speed and memory": ("speed", "ops", "scaling", "versions", "compare_speed"),
    "reading videos": ("decode", "feeding", "shards", "views"),
    "accuracy": ("compare", "arrow6", "verbs"),
    "proofs": ("resume", "fuzz"),
    "data sets, tables and pictures": (
        *("arrow6_videos", "compare_table", "compare_plot", "readme_table", "speed_plot", "verbs_picture"),
    ),
}


def main() -> None:
    known = [name for names in BENCHMARKS.values() for name in names]
    if len(sys.argv) < 2 or sys.argv[1] in ("--list", "-h", "--help"):
        print("usage: python -m bench NAME [--help] [OPTIONS]")
        for kind, names in BENCHMARKS.items():
            print(f"\n{kind}")
            for name in names:
                print(f"  {name:15} {summary(name)}")
        return
    name = sys.argv[1]
    if name not in known:
        raise SystemExit(f"unknown benchmark '{name}'; choose one of {', '.join(known)}")
    sys.argv = [f"bench {name}", *sys.argv[2:]]
    importlib.import_module(f"bench.{name}").main()


def summary(name: str) -> str:
    """Return the first line of a benchmark's docstring, without importing the module."""
    source = Path(__file__).with_name(f"{name}.py").read_text()
    return (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]


if __name__ == "__main__":
    main()

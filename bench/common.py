"""What every benchmark says with its numbers: machine, versions, commit, and p20/p50/p80."""

import csv
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import quantiles

ROOT = Path(__file__).parents[1]
PERCENTILES = ("p20", "p50", "p80")


def machine() -> str:
    """The processor's model name; never the host's."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions(*packages: str) -> str:
    """'python 3.12.1, av 18.1.0, …'"""
    python = f"python {platform.python_version()}"
    return ", ".join([python, *(f"{package} {version(package)}" for package in packages)])


def commit() -> str:
    """The short hash of HEAD, with + if files differ from it; 'none' outside of a repository.

    A copy of the tree without its history is told by the variable TANET_COMMIT.
    """
    if told := os.environ.get("TANET_COMMIT"):
        return told
    if not (head := _git("rev-parse", "--short", "HEAD")):
        return "none"
    return head + ("+" if _git("status", "--porcelain") else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def interleaved(runs: Mapping[str, Callable[[], object]], *, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each run in each of the repeats. Taking turns, all see the same disturbances."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - start))
    return times


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """{'p20': …, 'p50': …, 'p80': …}"""
    tenths = quantiles(values, n=10, method="inclusive")
    return {name: tenths[int(name[1]) - 1] for name in PERCENTILES}


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """One line a row; the columns are those of the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

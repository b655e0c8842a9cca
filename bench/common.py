"""What every benchmark says with its numbers: machine, versions, commit, and p20/p50/p80."""

import csv
import fcntl
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import quantiles

import torch

from tanet.runtime.device import available_cores

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


def head(*packages: str) -> dict[str, object]:
    """The first columns of a row: commit, date, machine (the GPU where there is one), versions."""
    gpu = torch.cuda.is_available()
    return {
        "commit": commit(),
        "date": date.today().isoformat(),
        "machine": torch.cuda.get_device_name() if gpu else machine(),
        "versions": versions(*packages),
    }


def require_tests(*names: str) -> None:
    """Stop unless these files of tests pass here, none of them skipped; in parallel where xdist is there."""
    files = [str(ROOT / "tests" / name) for name in names]
    flags = ["-q", "-p", "no:cacheprovider", "-o", "addopts="]
    if find_spec("xdist"):
        flags += ["-n", str(min(16, available_cores()))]
    for file in files:
        # A file that is skipped has no test to run, which pytest says by an exit code of its own.
        if code := subprocess.run(
            [sys.executable, "-m", "pytest", *flags, file], cwd=ROOT, check=False
        ).returncode:
            raise SystemExit(f"{file}: pytest ended with {code}, so nothing is measured")


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


def interleaved_on_gpu(
    runs: Mapping[str, Callable[[], object]], *, repeats: int, block: int = 5
) -> dict[str, list[float]]:
    """As `interleaved`, by the GPU's clock. They take turns in blocks, whose first run does not count."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(-(-repeats // block)):
        for name, run in runs.items():
            run()
            marks = [torch.cuda.Event(enable_timing=True) for _ in range(block + 1)]
            marks[0].record()
            for mark in marks[1:]:
                run()
                mark.record()
            torch.cuda.synchronize()
            times[name] += [start.elapsed_time(end) for start, end in pairwise(marks)]
    return times


@dataclass(frozen=True)
class Captured:
    """A run as a CUDA graph. The graph works on the run's own tensors, so the run must live as long."""

    run: Callable[[], object]
    graph: torch.cuda.CUDAGraph

    def __call__(self) -> None:
        self.graph.replay()


def capture(run: Callable[[], object], *, stream: torch.cuda.Stream | None = None) -> Captured:
    """The run as a CUDA graph, after three runs that compile and choose; `stream` is where it goes."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        run()
    return Captured(run, graph)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """{'p20': …, 'p50': …, 'p80': …}"""
    tenths = quantiles(values, n=10, method="inclusive")
    return {name: tenths[int(name[1]) - 1] for name in PERCENTILES}


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a file that `write_csv` wrote; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """One line a row; the columns are those of the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def add_row(path: Path, row: Mapping[str, object]) -> None:
    """One line more in a file that `write_csv` wrote, or a new one; several processes may do so at once.

    Raises:
        ValueError: the file has other columns.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", newline="") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        columns = next(csv.reader(file), None)
        if columns is not None and columns != list(row):
            raise ValueError(f"{path} has other columns: {', '.join(columns)}")
        writer = csv.DictWriter(file, fieldnames=list(row), lineterminator="\n")
        if columns is None:
            writer.writeheader()
        writer.writerow(row)

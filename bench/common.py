"""Functions for all benchmarks: describe machine and versions, time runs, read and write CSV files."""

import copy
import csv
import fcntl
import gc
import io
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import quantiles

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from tanet.data.worker_setup import garbage_collection_off
from tanet.errors import UserError, one_line
from tanet.models.network import Network
from tanet.recipes.recipe import Optim
from tanet.runtime.device import available_cores
from tanet.runtime.files import text_bytes, write_atomically
from tanet.runtime.interrupt import exit_on_sigterm, reader_left
from tanet.video import VideoError

ROOT = Path(__file__).parents[1]
PERCENTILES = ("p20", "p50", "p80")


@contextmanager
def one_line_errors(*, stopped: str = "") -> Iterator[None]:
    """Exit with a one-line message on an error that the user can fix. Decorate `main` with it.

    The environment variable TANET_TRACEBACK=1 keeps the traceback.

    Args:
        stopped: message for Ctrl-C and SIGTERM.

    Raises:
        SystemExit: with the message; with status 130 or 143 if stopped, or 141 if the program that reads the
            output has left.
    """
    exit_on_sigterm(stopped)
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        if stopped:
            print(stopped, file=sys.stderr)
        raise SystemExit(130) from None
    except (OSError, UserError, VideoError) as error:
        if isinstance(error, BrokenPipeError) and reader_left():
            raise SystemExit(141) from None
        if os.environ.get("TANET_TRACEBACK"):
            raise
        raise SystemExit(one_line(error)) from None


def machine() -> str:
    """Return the model name of the processor, never the host name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def versions(*packages: str) -> str:
    """Return the versions of Python and of these packages: 'python 3.12.1, av 18.1.0, …'."""
    python = f"python {platform.python_version()}"
    return ", ".join([python, *(f"{package} {version(package)}" for package in packages)])


def commit() -> str:
    """Return the short hash of HEAD, or 'none' outside a git repository. A + marks uncommitted changes.

    If the environment variable TANET_COMMIT is set, return its value instead. Set this variable when you run
    a copy of the repository that has no git history.
    """
    if told := os.environ.get("TANET_COMMIT"):
        return told
    if not (head := _git("rev-parse", "--short", "HEAD")):
        return "none"
    return head + ("+" if _git("status", "--porcelain") else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


HEAD = ("commit", "date", "machine", "versions")
"""Names of the first columns of every row."""


def head(*packages: str) -> dict[str, object]:
    """Return the first columns of every row, `HEAD`. The machine is the GPU, if there is one."""
    gpu = torch.cuda.is_available()
    computer = torch.cuda.get_device_name() if gpu else machine()
    values = commit(), date.today().isoformat(), computer, versions(*packages)
    return dict(zip(HEAD, values, strict=True))


def use_one_core() -> None:
    """Pin this process to one core, and PyTorch to one thread."""
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def require_tests(*names: str) -> None:
    """Run these test files. Exit if a test fails or a whole file is skipped."""
    files = [str(ROOT / "tests" / name) for name in names]
    flags = ["-q", "-p", "no:cacheprovider", "-o", "addopts="]
    if find_spec("xdist"):  # run the tests in parallel
        flags += ["-n", str(min(16, available_cores()))]
    for file in files:
        # If a whole file is skipped, pytest collects no test and returns an exit code other than 0.
        if code := subprocess.run(
            [sys.executable, "-m", "pytest", *flags, file], cwd=ROOT, check=False
        ).returncode:
            raise SystemExit(f"{file}: pytest ended with exit code {code}; fix the tests, then measure again")


def interleaved(runs: Mapping[str, Callable[[], object]], *, repeats: int) -> dict[str, list[float]]:
    """Call each function `repeats` times, and return the milliseconds of each call by name.

    The functions take turns, so that a disturbance of the machine affects all of them equally. Each function
    is called once more before the first turn, untimed.
    """
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
    """Do the same as `interleaved`, but measure with CUDA events, and time `block` calls per turn.

    Each turn starts with one more call, which is untimed.
    """
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
    """A function captured as a CUDA graph. The function is kept alive, because the graph uses its tensors."""

    run: Callable[[], object]
    graph: torch.cuda.CUDAGraph

    def __call__(self) -> None:
        self.graph.replay()


def capture(run: Callable[[], object], *, stream: torch.cuda.Stream | None = None) -> Captured:
    """Capture a function as a CUDA graph on `stream`. Call it three times before, to compile and autotune."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    gc.collect()  # destroying another CUDA graph, for example, can spoil the capture
    with garbage_collection_off(), torch.cuda.graph(graph, stream=stream):
        run()
    return Captured(run, graph)


def capture_passes(network: Network, optim: Optim, *, size: int) -> None:
    """Replace the forward and the backward pass of a network by CUDA graphs.

    The graphs keep the mode of each module at this time, training or evaluation, and the momentum of each
    BatchNorm. With other modes or momenta, as in norm_statistics.py, the passes run without graphs.

    Args:
        network: network on a GPU.
        optim: settings, of which `batch` and `precision` are used.
        size: side of the clips, in pixels.
    """
    state = copy.deepcopy(network.state_dict())
    device = next(network.parameters()).device
    clips = torch.randn(optim.batch, network.frames, 3, size, size, device=device)
    half = optim.precision == "bfloat16"
    eager = network.forward
    with torch.autocast("cuda", torch.bfloat16, enabled=half, cache_enabled=False):
        torch.cuda.make_graphed_callables(network, (clips,))
    graphed, modules = network.forward, list(network.modules())
    norms = [module for module in modules if isinstance(module, _BatchNorm)]

    def settings() -> tuple[list[bool], list[float | None]]:
        return [module.training for module in modules], [norm.momentum for norm in norms]

    captured = settings()

    def forward(*args: torch.Tensor) -> torch.Tensor:
        return (graphed if settings() == captured else eager)(*args)

    network.forward = forward
    network.load_state_dict(state)  # undo the warm-up's changes of the running statistics


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return the percentiles of the values: {'p20': …, 'p50': …, 'p80': …}."""
    tenths = quantiles(values, n=10, method="inclusive")
    return {name: tenths[int(name[1]) - 1] for name in PERCENTILES}


def read_csv(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file; return an empty list if the file does not exist."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read_rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV file that the user named.

    Raises:
        UserError: there is no such file, it is no CSV file, or it lacks one of the columns.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        rows = read_csv(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file") from error
    if rows and (lacking := [name for name in columns if name not in rows[0]]):
        raise UserError(f"{path}: lacks the columns {', '.join(lacking)}; is it another command's file?")
    return rows


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a CSV file with one line per row, atomically.

    The columns are the keys of the rows. Where a row lacks a key, for example because the row is older than
    the column, the cell is empty.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text_bytes(text.getvalue()))


def add_row(path: Path, row: Mapping[str, object]) -> None:
    """Append a row to a CSV file, which is created if necessary. Several processes may append at once.

    Raises:
        UserError: the columns of the file differ from the keys of the row.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", newline="") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        found = file.read()
        columns = next(csv.reader(io.StringIO(found)), None)
        if columns is not None and columns != list(row):
            raise UserError(
                f"{path} has other columns than the new row: {', '.join(columns)}; move the file elsewhere"
            )
        writer = csv.DictWriter(file, fieldnames=list(row), lineterminator="\n")
        if columns is None:
            writer.writeheader()
        elif not found.endswith("\n"):  # some editors drop the final newline
            file.write("\n")
        writer.writerow(row)

"""Compare the inference speed of the networks of projects/compare/run.py → results/compare_speed.csv.

    python -m projects.compare.speed --benchmark arrow6 --tables 2

As in `tanet test`, the networks run under bfloat16 autocast and in channels-last. Each network is captured as
a CUDA graph. So the work of the GPU is measured, and not how fast Python launches kernels. The networks take
turns in blocks of runs, so that disturbances affect all of them equally. Without a GPU, the networks run
eagerly in float32. Clips have the size at which the benchmark tests.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path

import torch

from bench.common import (
    ROOT,
    capture,
    head,
    interleaved,
    interleaved_on_gpu,
    one_line_errors,
    percentiles,
    write_csv,
)
from bench.flags import command
from projects.compare.cases import BENCHMARKS, Case, buildable, cases, change, changes_text, choose
from projects.compare.results import SPEEDS, read_results
from tanet.models.factory import build
from tanet.runtime.device import autocast, pick_device

KEY = ("machine", "benchmark", "changes", "case", "clips", "size")
"""The columns that identify a row."""
CLASSES = {"arrow6": 6, "synthetic": 10}


@one_line_errors()
def main() -> None:
    parser = command("projects.compare.speed", __doc__)
    parser.add_argument("--benchmark", choices=list(BENCHMARKS), required=True)
    parser.add_argument("--tables", nargs="+", default=["2"], help="paper tables (2 1a …), start or systems")
    parser.add_argument("--only", nargs="+", help="time only these cases: tam, 'tam kernel=5', …")
    parser.add_argument("--change", nargs="+", default=[], help="changes to the recipe: eval.size=40 …")
    parser.add_argument("--clips", type=int, default=32, help="batch size, in clips")
    parser.add_argument("--repeats", type=int, default=30, help="timed runs of each network")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "compare_speed.csv")
    flags = parser.parse_args()
    if flags.out.exists():
        read_results(flags.out, SPEEDS)  # a foreign file is an error before the measurements
    recipe = change(BENCHMARKS[flags.benchmark], flags.change)
    chosen = buildable(choose(cases(flags.tables, recipe), flags.only))
    device = pick_device()
    size = recipe.eval.size
    runs = {case.name: runner(case, CLASSES[flags.benchmark], flags.clips, size, device) for case in chosen}
    timer = interleaved_on_gpu if device.type == "cuda" else interleaved
    times = timer(runs, repeats=flags.repeats)
    first = head("torch")
    rows = [
        {
            **first,
            "benchmark": flags.benchmark,
            "changes": changes_text(flags.change),
            "case": name,
            "clips": flags.clips,
            "size": size,
            "precision": "bfloat16" if device.type == "cuda" else "float32",
            "runs": len(times[name]),
            **{f"ms_{name}": round(value, 3) for name, value in percentiles(times[name]).items()},
            "clips_s": round(1e3 * flags.clips / percentiles(times[name])["p50"], 1),
        }
        for name in runs
    ]
    again = {tuple(str(row[name]) for name in KEY) for row in rows}
    old = read_results(flags.out, SPEEDS) if flags.out.exists() else []
    kept = [row for row in old if tuple(row[name] for name in KEY) not in again]
    write_csv(flags.out, [*kept, *rows])
    for row in rows:
        print(f"{row['case']:32} {row['clips_s']:>10} clips/s")


def runner(case: Case, classes: int, clips: int, size: int, device: torch.device) -> Callable[[], object]:
    """Return a function that runs the network once on a batch of random clips."""
    network = build(case.model, classes=classes).eval().to(device)
    network.to_format(network.memory_format)
    batch = torch.randn(clips, case.model.frames, 3, size, size, device=device)
    on_gpu = device.type == "cuda"

    def once() -> torch.Tensor:
        with torch.inference_mode(), autocast(device, "bfloat16") if on_gpu else contextlib.nullcontext():
            return network(batch)

    return capture(once) if on_gpu else once


if __name__ == "__main__":
    main()

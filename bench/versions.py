"""Compare the speed of two checkouts of tanet on one machine.

    git worktree add ../before COMMIT
    python -m bench versions --before ../before [--parts inference latency step]

The parts are a batch (`inference`), one clip (`latency`) and a training step (`step`). Each checkout runs in
its own process. The two processes take turns in blocks of runs, so that clock speed and temperature are the
same for both. `before_ms` and `after_ms` are the median times of the old and the new checkout. `ratio` is the
new time divided by the old time of two successive blocks: the median over all pairs of blocks. `p10` and
`p90` are percentiles of this ratio. A ratio below 1 means that the new checkout is faster. On a CPU, choose
small sizes:

    python -m bench versions --before ../before --backbone resnet18_w16 --clips 2 --size 64 --blocks 4
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any

# Do not import bench.common: this file also runs with an old tanet, and bench.common needs the current one.
ROOT = Path(__file__).parents[1]
PARTS = ("inference", "latency", "step")


KEY = ("part", "backbone", "clips", "size", "machine")


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--before", type=Path, required=True, help="folder of the old checkout")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--clips", type=int, default=32, help="batch size in clips; latency always uses 1")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--blocks", type=int, default=40, help="blocks of each checkout")
    parser.add_argument("--runs", type=int, help="runs per block (default: 5; latency: 40)")


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    for part in flags.parts:
        sides = [_Side(root, part, flags) for root in (flags.before, ROOT)]
        try:
            before, after = [], []
            for _ in range(flags.blocks):
                before.append(sides[0].block())
                after.append(sides[1].block())
        finally:
            for side in sides:
                side.stop()
        ratios = sorted(new / old for new, old in zip(after, before, strict=True))
        tenths = quantiles(ratios, n=10)
        yield {
            "part": part,
            "backbone": flags.backbone,
            "clips": 1 if part == "latency" else flags.clips,
            "size": flags.size,
            "before_ms": f"{1e3 * median(before):.3f}",
            "after_ms": f"{1e3 * median(after):.3f}",
            "ratio": f"{median(ratios):.4f}",
            "p10": f"{tenths[0]:.4f}",
            "p90": f"{tenths[-1]:.4f}",
        }


class _Side:
    """One of the two checkouts, which runs in its own process."""

    def __init__(self, root: Path, part: str, flags: argparse.Namespace) -> None:
        setting = {"part": part, "backbone": flags.backbone, "clips": flags.clips, "size": flags.size}
        self.runs = flags.runs or (40 if part == "latency" else 5)
        self.process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(setting)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": f"{root.resolve()}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            },
        )
        self._answer()  # wait until the process is ready

    def block(self) -> float:
        """Run a block of runs, and return the median time of a run in seconds."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{self.runs}\n")
        self.process.stdin.flush()
        return median(self._answer())

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def _answer(self) -> list[float]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("["):
                return json.loads(line)
        raise SystemExit("the process that measures a checkout ended; see its error above")


def _serve(setting: dict[str, Any]) -> None:
    """Measure one checkout, in its own process.

    Each line of stdin is a number of runs. Do these runs, and print a list of the seconds that each run took.
    """
    import time

    import torch

    run, device = _make_run(setting)
    for _ in range(5):
        run()

    def timed() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    print([], flush=True)
    for line in sys.stdin:
        print([timed() for _ in range(int(line))], flush=True)


def _make_run(setting: dict[str, Any]) -> tuple[Any, str]:
    """Return a function that runs the measured part once, and the device.

    The function uses the tanet that PYTHONPATH contains: this version or 0.1.0.
    """
    import torch

    import tanet

    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)
    network = tanet.create_model(backbone=setting["backbone"], temporal="tam", frames=8, classes=400)
    clips = 1 if setting["part"] == "latency" else setting["clips"]
    shape = (clips, 8, 3, setting["size"], setting["size"])
    if setting["part"] != "step":
        precision = "bfloat16" if device == "cuda" else "float32"
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        fast = network.to(device).optimize(precision=precision)
        batch = torch.randn(shape, device=device, dtype=dtype)

        def infer() -> None:
            with torch.inference_mode():
                fast(batch)

        return infer, device
    try:
        from tanet.recipes.recipe import Optim
        from tanet.runtime.distributed import SINGLE_PROCESS
        from tanet.training.optimizer import make_optimizer
        from tanet.training.step import TrainStep

        alone = {"group": SINGLE_PROCESS}
    except ImportError:  # 0.1.0
        from tanet.distributed import ALONE  # type: ignore[import-not-found]
        from tanet.optim import make_optimizer  # type: ignore[import-not-found]
        from tanet.recipe import Optim  # type: ignore[import-not-found]
        from tanet.step import Stepper as TrainStep  # type: ignore[import-not-found]

        alone = {"peers": ALONE}
    network.train()
    if device == "cuda":
        getattr(network, "absorb_batch_norms", getattr(network, "fuse", None))()  # type: ignore[misc]
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optim = Optim(batch=clips)
    compiled = device == "cuda"
    optimizer = make_optimizer(network, optim)
    step = TrainStep(network, optimizer=optimizer, optim=optim, compile=compiled, **alone)
    views, labels = torch.randn(shape, device=device), torch.randint(400, (clips,), device=device)
    return lambda: step(views, labels), device


if __name__ == "__main__":  # in the process that measures a checkout
    _serve(json.loads(sys.argv[1]))

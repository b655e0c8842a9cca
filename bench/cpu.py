"""Measure networks on a CPU: eager, optimized, compiled, and with OpenVINO. One clip in float32.

    pip install 'tanet[openvino,onnx]' && python -m bench cpu [--networks tanet-resnet50] [--threads 2]

Each engine runs in a process of its own, and the processes of a network take turns.

engine       execution of the network
eager        each operation runs separately, in PyTorch's usual memory format
optimized    `Network.optimize()`: norms folded, in the faster memory format
compiled     `Network.optimize(compile=True)`
openvino     exported to OpenVINO, in float32

`first_s` is the time to the first answer, including preparation, compilation or export. `cpu_ms` is the CPU
time of one run, summed over all threads. `of_eager` is the speed relative to eager. `error` is the
largest difference of a logit from eager, relative to the largest logit.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, cast

import torch

from bench.common import percentiles
from bench.export import checkpoint_of
from tanet.models.architectures import find_architecture
from tanet.runtime.device import tune_cpu

KEY = ("network", "engine", "threads")
NETWORKS = (
    *("c2d-mobilenet-v2", "tanet-mobilenet-v2", "c2d-resnet50", "tsm-resnet50", "tanet-resnet50"),
    *("tsn-bn-inception", "eco-lite", "x3d-m", "ip-csn-50", "slowfast-r50-4x16", "r2plus1d-34"),
    *("i3d-inception", "s3d-g"),
)
ENGINES = ("eager", "optimized", "compiled", "openvino")
ROUNDS, SECONDS = 5, 1.5  # turns of each engine, and about how long a turn lasts

Run = Callable[[torch.Tensor], torch.Tensor]


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, help="side of the frames (default: the network's)")
    parser.add_argument("--rounds", type=int, default=ROUNDS)


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    for name in flags.networks:
        yield from _compare(name, flags)


def _compare(name: str, flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    found = find_architecture(name)
    size = flags.size or found.input_spec.size
    workers = {engine: _Worker(name, engine, size, flags.threads) for engine in flags.engines}
    for _ in range(flags.rounds):
        for worker in workers.values():
            worker.turn()
    eager = workers.get("eager")
    for engine, worker in workers.items():
        worker.stop()
        wall, cpu = zip(*worker.times, strict=True)
        yield {
            "network": name,
            "engine": engine,
            "threads": flags.threads,
            "frames": found.settings.frames,
            "size": size,
            "first_s": f"{worker.first:.1f}",
            **{f"ms_{key}": f"{1e3 * value:.1f}" for key, value in percentiles(wall).items()},
            "cpu_ms": f"{1e3 * median(cpu):.1f}",
            "of_eager": f"{eager.wall / worker.wall:.3f}" if eager else "",
            "error": f"{worker.error_from(eager):.1e}" if eager else "",
        }


class _Worker:
    """Process that runs one engine."""

    def __init__(self, network: str, engine: str, size: int, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        arguments = (other, network, engine, size, threads)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        other.close()
        self.first, self.logits = cast("tuple[float, torch.Tensor]", self._receive())
        self.times: list[tuple[float, float]] = []  # wall and CPU seconds of each run

    def turn(self) -> None:
        """Let the process run for about SECONDS."""
        self._connection.send("run")
        self.times += cast("list[tuple[float, float]]", self._receive())

    @property
    def wall(self) -> float:
        """Median time of a run in seconds."""
        return median(wall for wall, _ in self.times)

    def error_from(self, other: "_Worker") -> float:
        """Return the largest difference of a logit, relative to the largest logit of the other worker."""
        return float((self.logits - other.logits).abs().max() / other.logits.abs().max())

    def stop(self) -> None:
        self._process.kill()
        self._process.join()

    def _receive(self) -> object:
        try:
            return self._connection.recv()
        except EOFError:
            raise SystemExit("the process that measures an engine ended; see its error above") from None


@dataclass(frozen=True)
class _Engine:
    """Engine that is ready to run, with what must live as long."""

    run: Run
    keep: Any = None


def _serve(connection: Connection, network: str, engine: str, size: int, threads: int) -> None:
    torch.set_num_threads(threads)
    tune_cpu()
    torch.manual_seed(0)
    settings = find_architecture(network).settings
    clip = torch.randn(1, settings.frames, settings.channels, size, size)
    start = time.perf_counter()
    prepared = _prepare(settings, engine, size, threads)
    logits = prepared.run(clip)
    connection.send((time.perf_counter() - start, logits.clone()))
    prepared.run(clip)
    while connection.recv():
        times: list[tuple[float, float]] = []
        while sum(wall for wall, _ in times) < SECONDS:
            wall, cpu = time.perf_counter(), time.process_time()
            prepared.run(clip)
            times.append((time.perf_counter() - wall, time.process_time() - cpu))
        connection.send(times)


def _prepare(settings: Any, engine: str, size: int, threads: int) -> _Engine:
    """Build a network, always with the same weights, and prepare it for an engine."""
    model = checkpoint_of(settings, size=size)
    network = model.network
    torch.nn.init.zeros_(network.head.bias)  # a large bias would hide errors
    if engine == "openvino":
        from tanet.checkpoints.exported.formats import open_exported
        from tanet.inference.export.export import export

        folder = tempfile.TemporaryDirectory()
        path = Path(folder.name) / "network.xml"
        export(model, path)
        return _Engine(open_exported(path, threads=threads), folder)
    if engine != "eager":
        network = network.optimize(compile=engine == "compiled")

    @torch.inference_mode()
    def run(clip: torch.Tensor) -> torch.Tensor:
        return network(clip)

    return _Engine(run)

"""Measure how much of the time of labelling many small videos goes to the decoder and the network.

    python -m bench labelling
    python -m bench labelling --videos 8 --networks i3d-k400

The benchmark runs what `tanet predict` runs after its start: paths → answers. The videos are H.264, 320x240,
40 frames. Columns:

    seconds    wall time for all videos
    per_video  milliseconds per video
    busy       part of the wall time in which at least one thread is in the decoder or the network
    cpu        part of the process's CPU time that they take: decoding, RGB and resizing; the forward pass
    start_cpu  seconds of CPU time that a new process takes to import the command; not part of the others
    decode_cpu, network_cpu    seconds of CPU time of the decoding threads, and of the network

`cpu` is given for one thread of the network. With more, PyTorch's own threads work for the network, too, and
their CPU time cannot be told from the rest.
"""

import argparse
import dataclasses
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from tanet import synthetic
from tanet.checkpoints import checkpoint as checkpoints
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.inference import predict as inference
from tanet.models.factory import build
from tanet.recipes.network2d import Network2D
from tanet.recipes.recipe import Data, Eval, Recipe
from tanet.runtime.device import available_cores, tune_cpu

NARROW = Recipe(
    data=Data(sampling="uniform", resize=0, size=112),
    model=Network2D(backbone="resnet18_w16", temporal="tam", frames=8),
    eval=Eval(clips=1, crops=1, resize=128, size=112),
)
HEIGHT, WIDTH, FRAMES = 240, 320, 40
KEY = ("network", "videos", "threads")
PACKAGES = ("av", "torch", "numpy")


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument(
        "--networks", nargs="+", default=["narrow"], help="narrow, or names of published weights"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="threads of the network")


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    tune_cpu()
    with tempfile.TemporaryDirectory() as folder:
        paths = write_videos(Path(folder), flags.videos)
        for name in flags.networks:
            model = narrow_model() if name == "narrow" else checkpoints.load(name)
            for threads in flags.threads:
                torch.set_num_threads(threads)
                yield {"network": name, "videos": len(paths), "threads": threads, **measure(paths, model)}


def write_videos(folder: Path, count: int) -> list[Path]:
    """Write small videos and return their paths."""
    paths = [folder / f"{number}.mp4" for number in range(count)]
    for number, path in enumerate(paths):
        generator = np.random.default_rng(number)
        clip = synthetic.render("move_left", frames=FRAMES, height=HEIGHT, width=WIDTH, generator=generator)
        synthetic.write_video(path, clip)
    return paths


def narrow_model() -> Checkpoint:
    torch.manual_seed(0)
    return Checkpoint(build(NARROW.model, classes=7).eval(), NARROW, tuple("abcdefg"))


@dataclasses.dataclass
class Spans:
    """When each call of a function began and ended, and its CPU seconds in its own thread."""

    spans: list[tuple[float, float, float]] = dataclasses.field(default_factory=list)
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, with its calls recorded."""

        def call(*args: Any, **options: Any) -> Any:
            start, cpu = time.perf_counter(), time.thread_time()
            try:
                return function(*args, **options)
            finally:
                with self.lock:
                    self.spans.append((start, time.perf_counter(), time.thread_time() - cpu))

        return call

    @property
    def cpu(self) -> float:
        return sum(cpu for _, _, cpu in self.spans)


def measure(paths: list[Path], model: Checkpoint) -> dict[str, object]:
    """Label the videos, and return the figures of a row."""
    decoder, network = Spans(), Spans()
    # Opening is decoding, too: it reads the file's packets.
    targets = {"open_source": decoder, "_views_for_each": decoder, "video_scores": network}
    list(inference.predict_all(paths[:2], model))
    with ExitStack() as stack:
        for name, spans in targets.items():
            stack.enter_context(mock.patch.object(inference, name, spans.timed(getattr(inference, name))))
        start, cpu = time.perf_counter(), time.process_time()
        answers = list(inference.predict_all(paths, model))
        wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    assert all(isinstance(answer, inference.Prediction) for answer in answers)
    inside = union(decoder.spans + network.spans)
    return {
        "cores": available_cores(),
        "seconds": f"{wall:.2f}",
        "per_video": f"{1e3 * wall / len(paths):.1f}",
        "busy": f"{inside / wall:.3f}",
        "start_cpu": f"{start_cpu():.2f}",
        "cpu": f"{(decoder.cpu + network.cpu) / cpu:.3f}" if torch.get_num_threads() == 1 else "",
        "decode_cpu": f"{decoder.cpu:.2f}",
        "network_cpu": f"{network.cpu:.2f}",
    }


def start_cpu() -> float:
    """Return the CPU seconds that a new process takes to import `tanet predict`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import tanet.cli.predict"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def union(spans: list[tuple[float, float, float]]) -> float:
    """Return the seconds that at least one span covers."""
    covered, end = 0.0, 0.0
    for start, stop, _ in sorted(spans):
        covered += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return covered

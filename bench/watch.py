"""Measure `tanet watch`: delay behind a live source, memory over 100,000 frames, recovery of a lost source.

    make demo && python -m bench watch

The live source is MPEG-TS over UDP on this machine, 25 frames per second. In the case `slow`, each answer
takes another second. `lag_first` and `lag_last` are medians of how far answers are behind the source, in ms,
in the first and the last quarter of the run, relative to the smallest one; `latency_p95` is the time from the
arrival of the newest frame to the answer. `memory_mb` is the growth from 5 % of the frames to the end.
`recovery_s` is the time from the start of a new source to the next answer.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from bench.common import ROOT
from bench.timeline import write_video
from tanet import load
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.inference.watch.watch import LiveAnswer, watch
from tanet.inference.windows import Span

PACKAGES = ("torch", "av")
KEY = ("case",)
PORT, RATE, WINDOW = 45_123, 25, Span(33)
CASES = ("fast", "slow", "file", "lost")


class Slow(nn.Module):
    """A network whose forward pass takes longer."""

    def __init__(self, network: Any, seconds: float) -> None:
        super().__init__()
        self.network, self.seconds = network, seconds
        self.input_spec, self.frames, self.takes_frames = network.input_spec, network.frames, False

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        time.sleep(self.seconds)
        return self.network(clips)


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, default=ROOT / "demo" / "tam" / "best.safetensors")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seconds", type=float, default=180.0, help="length of the live streams")
    parser.add_argument("--frames", type=int, default=100_000, help="length of the file")


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    model = load(flags.model)
    torch.set_num_threads(1)
    empty = dict.fromkeys(
        ("inference_ms", "answers", "frames", "dropped", "lag_first", "lag_last", "latency_p95")
    )
    with tempfile.TemporaryDirectory() as folder:
        short = write_video(Path(folder) / "short.mp4", 30 * RATE)
        for case in flags.cases:
            if case == "file":
                path = write_video(Path(folder) / "long.mp4", flags.frames)
                yield {"case": case, **empty, **in_file(model, path, flags.frames)}
            elif case == "lost":
                yield {"case": case, **empty, "memory_mb": None, "recovery_s": recovery(model, short)}
            else:
                seconds = 1.0 if case == "slow" else 0.0
                found = live(model, short, seconds=flags.seconds, extra=seconds)
                yield {"case": case, **found, "memory_mb": None, "recovery_s": None}


def live(model: Checkpoint, video: Path, *, seconds: float, extra: float) -> dict[str, object]:
    """Watch a live source with a network that takes `extra` seconds longer."""
    slowed = replace(model, network=Slow(model.network, extra)) if extra else model
    lags: list[tuple[float, float]] = []  # media time, delay behind it
    answers: list[LiveAnswer] = []
    with Source(video, seconds), closing(watch(slowed, address(), window=WINDOW)) as found:
        for answer in found:
            lags.append((answer.time, time.monotonic() - answer.time))
            answers.append(answer)
            if answer.time > seconds - 5:
                break
    least, end = min(lag for _, lag in lags), lags[-1][0]
    quarter = [
        median(1000 * (lag - least) for at, lag in lags if first <= at / end <= last)
        for first, last in ((0, 0.25), (0.75, 1))
    ]
    latencies = sorted(1000 * answer.latency for answer in answers)
    return {
        "inference_ms": round(1000 * inference_time(slowed)),
        "answers": len(answers),
        "frames": answers[-1].frames,
        "dropped": answers[-1].dropped,
        "lag_first": round(quarter[0]),
        "lag_last": round(quarter[1]),
        "latency_p95": round(latencies[int(0.95 * len(latencies))]),
    }


def inference_time(model: Checkpoint) -> float:
    """Return the median time of one answer of the network, in seconds."""
    side, times = model.recipe.eval.size, []
    clips = torch.randn(1, model.network.frames, 3, side, side)
    for _ in range(5):
        start = time.perf_counter()
        with torch.inference_mode():
            model.network(clips)
        times.append(time.perf_counter() - start)
    return median(times)


def in_file(model: Checkpoint, path: Path, frames: int) -> dict[str, object]:
    """Watch a file at full speed, with a window for each second."""
    early, count, last = 0.0, 0, None
    for answer in watch(model, str(path), window=WINDOW, policy="newest"):
        count, last = count + 1, answer
        if not early and answer.frames >= frames / 20:
            early = memory()
    assert last is not None
    found = {"answers": count, "frames": last.frames, "dropped": last.dropped}
    return {**found, "memory_mb": round(memory() - early, 1), "recovery_s": None}


def memory() -> float:
    """Return the memory of this process, in MB."""
    text = Path("/proc/self/status").read_text()
    return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) / 1e3


def recovery(model: Checkpoint, video: Path) -> float:
    """Stop a source in mid-stream, start another one 10 s later, and wait for the next answer."""
    with closing(watch(model, address(), window=WINDOW)) as found:
        with Source(video, 60) as source:
            wait_until(found, lambda answer: answer.time > 5)
            source.stop()
        time.sleep(10)
        with Source(video, 60):
            start = time.monotonic()
            for answer in found:
                if time.monotonic() - answer.latency > start:
                    return round(time.monotonic() - start, 2)
    raise RuntimeError("the stream ended")


def wait_until(answers: Iterator[LiveAnswer], done: Callable[[LiveAnswer], bool]) -> None:
    for answer in answers:
        if done(answer):
            return


def address() -> str:
    return f"udp://127.0.0.1:{PORT}"


class Source:
    """Context manager that sends a video over UDP, in a process of its own."""

    def __init__(self, video: Path, seconds: float) -> None:
        words = [
            sys.executable,
            "-m",
            "tests.support.udp_source",
            str(video),
            str(PORT),
            str(seconds),
            str(RATE),
        ]
        self.process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

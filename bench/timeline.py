"""Measure timelines: the accuracy on joined clips of the demo's verbs, and time and memory for a long video.

    make demo && python -m bench timeline

`plain` is the fraction of frames that windows side by side label correctly, `right` that of the default
timeline with overlapping windows; each series joins 30 clips. For the long video, the command runs in a
process of its own, three times, and the medians count; `memory_mb` is how much more memory it needs at its
peak than for a video of two minutes.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median

import av
import numpy as np
import torch

from bench.common import ROOT
from tanet import load, synthetic
from tanet.demo.run import DIFFICULTY
from tanet.inference.timeline import Rules, Timeline, timeline
from tanet.inference.windows import Span
from tanet.video import FrameArray

PACKAGES = ("torch", "av")
CLIPS, WINDOW = 30, 33
RATE = 25
RUNS = 3
"""Runs of which the medians are reported."""
SHORT = 2.0
"""Minutes of the video that the long one is compared with."""


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, default=ROOT / "demo" / "tam" / "best.safetensors")
    parser.add_argument("--series", type=int, nargs="+", default=[1, 2, 3], help="seeds")
    parser.add_argument("--minutes", type=float, default=120.0, help="length of the long video; 0: none")


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    model = load(flags.model)
    torch.set_num_threads(1)
    empty = {"minutes": "", "times_real_time": "", "memory_mb": ""}
    for seed in flags.series:
        frames, labels = series(seed)
        video = FrameArray(frames)
        plain = timeline(
            video, model, window=Span(WINDOW), hop=Span(WINDOW), rules=Rules(margin=0, shortest=1e-6)
        )
        found = timeline(video, model, window=Span(WINDOW))
        yield {
            "video": f"series {seed}",
            "frames": len(labels),
            "plain": round(right(plain, labels), 4),
            "right": round(right(found, labels), 4),
            "segments": len(found.segments),
            "true_segments": 1 + sum(one != other for one, other in pairwise(labels)),
            **empty,
        }
    if not flags.minutes:
        return
    with tempfile.TemporaryDirectory() as folder:
        used = {}
        for name, minutes in (("short", min(SHORT, flags.minutes)), ("long", flags.minutes)):
            path = write_video(Path(folder) / f"{name}.mp4", round(60 * minutes * RATE))
            runs = [run_command(flags.model, path) for _ in range(RUNS)]
            used[name] = tuple(median(values) for values in zip(*runs, strict=True))
        seconds, memory = used["long"]
        yield {
            "video": "long",
            "frames": round(60 * flags.minutes * RATE),
            **dict.fromkeys(("plain", "right", "segments", "true_segments"), ""),
            "minutes": flags.minutes,
            "times_real_time": round(60 * flags.minutes / seconds, 1),
            "memory_mb": round((memory - used["short"][1]) / 1e6, 1),
        }


def series(seed: int) -> tuple[np.ndarray, list[str]]:
    """Return joined clips, uint8 [frames, H, W, 3], and the verb of each frame."""
    generator = np.random.default_rng(seed)
    clips, labels = [], []
    for _ in range(CLIPS):
        verb = synthetic.VERBS[int(generator.integers(len(synthetic.VERBS)))]
        count = int(generator.integers(24, 49))
        clip = synthetic.render(
            verb, frames=count, height=72, width=96, difficulty=DIFFICULTY, generator=generator
        )
        clips.append(clip)
        labels += [verb] * count
    return np.concatenate(clips), labels


def right(found: Timeline, labels: list[str]) -> float:
    """Return the fraction of frames in a segment with their label."""
    times = (np.arange(len(labels)) + 0.5) / 30
    correct = np.zeros(len(labels), bool)
    for segment in found.segments:
        inside = (times >= segment.start) & (times < segment.end)
        correct |= inside & (np.array(labels) == segment.label)
    return float(correct.mean())


def write_video(path: Path, count: int) -> Path:
    """Write a video of joined clips, which are repeated."""
    frames, _ = series(0)
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast", "threads": "1", "g": "50"}
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for number in range(count):
            picture = av.VideoFrame.from_ndarray(frames[number % len(frames)], format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


MEASURED = """
import sys
from pathlib import Path
from tanet.cli import main
status = main(sys.argv[1:])
# `resource` would count the memory of the process that started this one.
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print("peak", peak.split()[1], file=sys.stderr)
raise SystemExit(status)
"""


def run_command(model: Path, video: Path) -> tuple[float, float]:
    """Run `tanet timeline`. Return its seconds and its peak memory in bytes."""
    words = ["timeline", str(model), str(video), "--window", str(WINDOW), "--device", "cpu"]
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *words], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return time.perf_counter() - start, 1024 * float(done.stderr.split()[-1])

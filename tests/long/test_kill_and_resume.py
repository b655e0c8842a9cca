"""A training that is killed at random moments and resumed gives the same result as an uninterrupted one.

A small training on the CPU, with dropout, two workers and a bad video, is run to its end. The same training
is then killed at random moments (SIGKILL to the command and its workers) and resumed: twenty trainings at one
moment each, and one at all of these moments in turn. A moment is a step, counted from the start of the
training, plus the seconds since the state of that step was saved; step 0 is the start. The test compares the
weights of the last and the best checkpoint bit for bit, and metrics.csv without its times. After each kill,
every state and checkpoint in the folder must load.
"""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tanet import synthetic
from tanet.checkpoints import checkpoint
from tanet.training import training_state

TIMES = ("seconds", "clips_per_second", "wait")
pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]
MOMENTS = 20
STEPS = 36  # 4 epochs of 9 steps: without the bad video, the tenth batch is not full and is dropped
FLAGS = [
    *("--model.backbone", "resnet18_w16", "--model.frames", "4", "--model.dropout", "0.5"),
    *("--optim.epochs", "4", "--optim.batch", "4", "--data.workers", "2"),
    *("--optim.warmup", "0", "--eval.every", "1"),
    *("--data.size", "32", "--data.resize", "32", "--eval.size", "32", "--eval.resize", "32"),
    *("--device", "cpu", "--save-minutes", "0", "--resume"),
]


def test_killed_training_resumes_bit_for_bit(tmp_path):
    videos = tmp_path / "videos"
    synthetic.make_dataset(videos, train=4, val=1, height=32, width=48, workers=0)
    next(videos.rglob("train/*/*.mp4")).write_bytes(b"an error page")
    whole = tmp_path / "whole"
    assert start(videos, whole).wait() == 0
    generator = random.Random(0)
    moments = sorted((generator.randrange(STEPS), generator.uniform(0, 0.1)) for _ in range(MOMENTS))
    for number, case in enumerate([*([moment] for moment in moments), moments]):
        out = tmp_path / str(number)
        for moment in case:
            kill(videos, out, *moment)
        assert start(videos, out).wait() == 0
        assert same_result(out, whole), case


def start(videos: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start the training command in a process group of its own."""
    command = [sys.executable, "-m", "tanet", "train", "finetune", "--data.root", str(videos)]
    return subprocess.Popen(
        [*command, "--out", str(out), *FLAGS],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill(videos: Path, out: Path, step: int, seconds: float) -> None:
    """Start or resume a training, kill it at this moment, and load every file that it left."""
    process = start(videos, out)
    while not reached(out, step):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.002)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    for path in training_state.list_states(out):
        training_state.load(path)
    for path in out.glob("*.safetensors"):
        checkpoint.load(path)


def reached(out: Path, step: int) -> bool:
    """Return whether a training has reached a step."""
    if step == 0:
        return (out / "recipe.json").exists()
    return any(int(path.stem.removeprefix("state-")) >= step for path in training_state.list_states(out))


def same_result(one: Path, other: Path) -> bool:
    """Return whether weights are bit-equal, and metrics.csv is equal apart from the times."""
    for name in ("last", "best"):
        a, b = (safetensors.torch.load_file(folder / f"{name}.safetensors") for folder in (one, other))
        if a.keys() != b.keys() or not all(torch.equal(a[key], b[key]) for key in a):
            return False
    a, b = (
        [{**row, **dict.fromkeys(TIMES)} for row in csv.DictReader((folder / "metrics.csv").open())]
        for folder in (one, other)
    )
    return a == b

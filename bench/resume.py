"""Check that a training that was killed and resumed equals one that was not → results/resume.csv.

    python -m bench.resume [--moments 20]

A small training on the CPU, with dropout, two workers and a bad video, is run to its end. For each row, the
same training is killed at a random moment (SIGKILL to the command and its workers) and resumed; for the last
row, one training is killed at all of these moments in turn. A moment is a step, counted from the start of the
training, plus the seconds since the state of that step was saved; step 0 is the start. `bit_equal` compares
the weights of the last and the best checkpoint, and metrics.csv without its times. After each kill, every
state and checkpoint in the folder is read; the program fails if any of them cannot be read.
"""

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import safetensors.torch
import torch

from bench.common import ROOT, head, write_csv
from tanet import synthetic
from tanet.checkpoints import checkpoint
from tanet.training import training_state

TIMES = ("seconds", "clips_per_second", "wait")
STEPS = 36  # 4 epochs of 9 steps: without the bad video, the tenth batch is not full and is dropped
FLAGS = [
    *("--model.backbone", "resnet18_w16", "--model.frames", "4", "--model.dropout", "0.5"),
    *("--optim.epochs", "4", "--optim.batch", "4", "--data.workers", "2"),
    *("--optim.warmup", "0", "--eval.every", "1"),
    *("--data.size", "32", "--data.resize", "32", "--eval.size", "32", "--eval.resize", "32"),
    *("--device", "cpu", "--save-minutes", "0", "--resume"),
]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="seed of the random moments")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "resume.csv")
    flags = parser.parse_args()
    first, rows = head("torch", "av"), []
    with tempfile.TemporaryDirectory() as folder:
        videos = Path(folder) / "videos"
        synthetic.make_dataset(videos, train=4, val=1, height=32, width=48, workers=0)
        next(videos.rglob("train/*/*.mp4")).write_bytes(b"an error page")
        whole = Path(folder) / "whole"
        assert start(videos, whole).wait() == 0, "the training that is not killed must end well"
        generator = random.Random(flags.seed)
        moments = sorted(
            (generator.randrange(STEPS), generator.uniform(0, 0.1)) for _ in range(flags.moments)
        )
        cases = {f"{step} + {seconds:.3f} s": [(step, seconds)] for step, seconds in moments}
        for number, (name, case) in enumerate([*cases.items(), ("all of these", moments)]):
            row = {"moment": name, **killed(videos, Path(folder) / str(number), whole, case)}
            rows.append({**first, **row})
            print(row, flush=True)
            write_csv(flags.out, rows)


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


def killed(videos: Path, out: Path, whole: Path, moments: list[tuple[int, float]]) -> dict[str, object]:
    """Kill a training at these moments, resume it, and compare its results."""
    for step, seconds in moments:
        process = start(videos, out)
        while not reached(out, step):
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.002)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
        check(out)
    status = start(videos, out).wait()
    return {"kills": len(moments), "bit_equal": status == 0 and same(out, whole)}


def reached(out: Path, step: int) -> bool:
    """Return whether a training has reached a step."""
    if step == 0:
        return (out / "recipe.json").exists()
    return any(int(path.stem.removeprefix("state-")) >= step for path in training_state.list_states(out))


def check(out: Path) -> None:
    """Check that every state and checkpoint in the folder can be read after a kill."""
    for path in training_state.list_states(out):
        training_state.load(path)
    for path in out.glob("*.safetensors"):
        checkpoint.load(path)


def same(one: Path, other: Path) -> bool:
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


if __name__ == "__main__":
    main()

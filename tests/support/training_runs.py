"""Fixtures and helpers for tests that stop a small training, resume it and compare the result."""

import csv
import sys

import pytest
import safetensors.torch
import torch

from tanet import train
from tanet.training.trainer import Progress
from tests.support.tiny_videos import TINY, changed, make_folders

TIMES = ("seconds", "clips_per_second", "wait")  # columns that differ from run to run


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Recipe with dropout of two epochs of five steps; a sixth step is missing because one video is bad."""
    root = make_folders(tmp_path_factory.mktemp("videos"), train=6, val=2)
    (root / "train/move_left/3.mp4").write_bytes(b"an error page")
    return changed(
        TINY, data={"root": str(root)}, model={"dropout": 0.5}, optim={"epochs": 2, "batch": 2, "lr": 0.003}
    )


@pytest.fixture(scope="module")
def finished_run(recipe, tmp_path_factory):
    """Folder of a training that was never stopped."""
    out = tmp_path_factory.mktemp("whole")
    train(recipe, out=out, device="cpu")
    return out


@pytest.fixture
def progress_every_step(monkeypatch):
    """Make the trainer report progress after every step."""
    monkeypatch.setattr(sys.modules["tanet.training.training_loop"], "PROGRESS_INTERVAL", -1.0)


def same_result(one, other):
    """Compare two run folders: weights bit by bit, and metrics.csv without its timing columns."""
    for name in ("last", "best"):
        a, b = (safetensors.torch.load_file(folder / f"{name}.safetensors") for folder in (one, other))
        if a.keys() != b.keys() or not all(torch.equal(a[key], b[key]) for key in a):
            return False
    a, b = (list(csv.DictReader((folder / "metrics.csv").open())) for folder in (one, other))
    return [{**row, **dict.fromkeys(TIMES)} for row in a] == [{**row, **dict.fromkeys(TIMES)} for row in b]


class Stop(Exception):
    """Raised by the event callback of a training to simulate a crash."""


def stop_at(epoch, step):
    """Return an event callback that raises Stop when the given step is reported."""

    def report(event):
        if isinstance(event, Progress) and (event.epoch, event.step) == (epoch, step):
            raise Stop

    return report

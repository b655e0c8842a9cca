"""Small trainings that tests stop and resume: the recipe, the stop, and whether two runs ended the same."""

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
    """Two epochs of five steps, not six, since a video is bad; with dropout."""
    root = make_folders(tmp_path_factory.mktemp("videos"), train=6, val=2)
    (root / "train/move_left/3.mp4").write_bytes(b"an error page")
    return changed(
        TINY, data={"root": str(root)}, model={"dropout": 0.5}, optim={"epochs": 2, "batch": 2, "lr": 0.003}
    )


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory):
    """The folder of a run that was never stopped."""
    out = tmp_path_factory.mktemp("whole")
    train(recipe, out=out, device="cpu")
    return out


@pytest.fixture
def tells_each_step(monkeypatch):
    monkeypatch.setattr(sys.modules["tanet.training.trainer"], "PROGRESS_INTERVAL", -1.0)


def same(one, other):
    """Weights bit for bit, the best as the last, and what metrics.csv says."""
    for name in ("last", "best"):
        a, b = (safetensors.torch.load_file(folder / f"{name}.safetensors") for folder in (one, other))
        if a.keys() != b.keys() or not all(torch.equal(a[key], b[key]) for key in a):
            return False
    a, b = (list(csv.DictReader((folder / "metrics.csv").open())) for folder in (one, other))
    return [{**row, **dict.fromkeys(TIMES)} for row in a] == [{**row, **dict.fromkeys(TIMES)} for row in b]


class Stop(Exception):
    """Thrown from where a training reports, in place of a crash."""


def stop_at(epoch, step):
    def report(event):
        if isinstance(event, Progress) and (event.epoch, event.step) == (epoch, step):
            raise Stop

    return report

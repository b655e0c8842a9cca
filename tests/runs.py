"""Small trainings that tests stop and resume: the recipe, the stop, and whether two runs ended the same."""

import csv
import dataclasses

import safetensors.torch
import torch
from clips import TINY, make_folders

from tanet.train import Progress

TIMES = ("seconds", "clips_per_second", "wait")  # columns that differ from run to run


def changed(recipe, **sections):
    return dataclasses.replace(
        recipe,
        **{name: dataclasses.replace(getattr(recipe, name), **fields) for name, fields in sections.items()},
    )


def make_recipe(folder):
    """Two epochs of five steps, not six, since a video is bad; with dropout."""
    root = make_folders(folder, train=6, val=2)
    (root / "train/move_left/3.mp4").write_bytes(b"an error page")
    return changed(
        TINY, data={"root": str(root)}, model={"dropout": 0.5}, optim={"epochs": 2, "batch": 2, "lr": 0.003}
    )


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

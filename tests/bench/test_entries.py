"""Every benchmark's entry, run once and tiny: it starts with its defaults and writes its rows."""

import csv
import importlib
import sys
from pathlib import Path

import pytest
import torch

from bench import common
from bench.__main__ import BENCHMARKS
from bench.__main__ import main as runner
from tanet import create_model
from tanet.recipes import RECIPES
from tests.support.tiny_videos import changed, make, make_folders

ROOT = Path(__file__).parents[2]


def one_video(folder):
    path = folder / "one" / "a" / "video.mp4"
    path.parent.mkdir(parents=True)
    return {"tiny": make(path, frames=30)}


ARROW6 = changed(RECIPES["arrow6"], data={"size": 32, "resize": 32}, eval={"size": 32, "resize": 32})
ON_CPU = ["--device", "cpu", "--backbone", "resnet18_w16", "--size", "32"]
# Module → constants that make it tiny, flags, and whether it takes over five seconds.
# A flag in capitals is a place of the fixture's.
TINY = {
    "arrow6": (
        {"RECIPES": {"arrow6": changed(ARROW6, optim={"epochs": 1, "warmup": 0.0, "batch": 4})}},
        [
            "--data",
            "VIDEOS",
            "--weights",
            "WEIGHTS",
            *["--seeds", "0", "--temporal", "none", "--workers", "1"],
        ],
    ),
    "compare_speed": ({}, ["--benchmark", "synthetic", "--only", "none", "--clips", "1", "--repeats", "2"]),
    "decode": ({"REAL": {}, "SETS": 2, "REPEATS": 2}, ["--exact"]),
    "feeding": ({"BLOCKS": 2, "VIDEOS": 2}, [*ON_CPU, *["--batch", "1", "--steps", "4", "--workers", "1"]]),
    "fuzz": ({"FILES": 6, "OPENS": 4, "WARM_UP": 1, "EVERY": 2}, []),
    "resume": ({}, ["--moments", "0"]),
    "shards": ({"REPEATS": 2, "CLIPS": 1, "videos": one_video}, []),
    "speed": (
        {"same_answers": lambda: None},
        [
            *["--part", "cpu", "--tested", "--networks", "tanet", "--forms", "eager", "--repeats", "2"],
            *ON_CPU[2:],
        ],
    ),
    "verbs": ({}, ["--demo", "DEMO"]),
    "versions": (
        {},
        [
            "--before",
            str(ROOT),
            *ON_CPU[2:],
            *["--parts", "step", "--clips", "1", "--blocks", "2", "--runs", "1"],
        ],
    ),
    "views": ({"TESTS": (("sth-1x1", 8),), "REPEATS": 2, "videos": one_video}, []),
}
# What has tests of its own, draws a picture, or needs a GPU (ops).
ELSEWHERE = {
    *("arrow6_videos", "compare", "compare_plot", "compare_table", "scaling"),
    *("ops", "readme_table", "speed_plot", "verbs_picture"),
}


@pytest.fixture
def places(tmp_path):
    demo = tmp_path / "demo"
    for network in ("tam", "none"):
        (demo / network).mkdir(parents=True)
        (demo / network / "metrics.csv").write_text("epoch,train_top1,val_top1,seconds\n1,0.5,0.25,3\n")
    weights = tmp_path / "weights.pth"
    state = create_model("c2d-mobilenet-v2", classes=2).backbone.state_dict()
    torch.save(state, weights)
    return {"DEMO": demo, "VIDEOS": make_folders(tmp_path / "videos"), "WEIGHTS": weights}


def test_every_entry_is_known():
    entries = {path.stem for path in (ROOT / "bench").glob("*.py") if "\ndef main(" in path.read_text()}
    entries -= {"__main__"}
    assert entries == TINY.keys() | ELSEWHERE
    assert entries == {name for names in BENCHMARKS.values() for name in names}


def test_the_runner_lists_and_starts_benchmarks(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench", "--list"])
    runner()
    shown = capsys.readouterr().out
    assert "  speed           Measure clips per second" in shown
    monkeypatch.setattr(sys, "argv", ["bench", "compare_table", "--help"])
    with pytest.raises(SystemExit) as stop:
        runner()
    assert stop.value.code == 0
    assert "usage: bench compare_table" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["bench", "sped"])
    with pytest.raises(SystemExit, match="unknown benchmark 'sped'"):
        runner()


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_an_entry_runs(name, places, tmp_path, monkeypatch):
    module = importlib.import_module(f"bench.{name}")
    constants, flags = TINY[name]
    for constant, value in constants.items():
        monkeypatch.setattr(module, constant, value)
    written = []

    def keep(path, table):
        path = tmp_path / Path(path).name
        common_write(path, table)
        written.append(path)

    common_write = common.write_csv
    monkeypatch.setattr(common, "write_csv", keep)
    if hasattr(module, "write_csv"):
        monkeypatch.setattr(module, "write_csv", keep)
    monkeypatch.setattr(sys, "argv", [name, *(str(places.get(flag, flag)) for flag in flags)])
    module.main()
    assert written
    for path in set(written):
        with path.open(newline="") as file:
            found = list(csv.DictReader(file))
        assert found

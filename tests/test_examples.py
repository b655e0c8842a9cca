"""Each script in examples/ runs on small test videos and prints the expected words."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

import tanet
from tanet.checkpoints import checkpoint
from tests.support.tiny_videos import TINY, make_folders

EXAMPLES = Path(__file__).parents[1] / "examples"
# Script → its arguments, with paths relative to the folder of the fixture, and words that it must print.
SCRIPTS = {
    "predict": (
        ("model.safetensors", "videos/val/move_left/0.mp4", "missing.mp4"),
        ("0.mp4: ", "no such file"),
    ),
    "train": (("videos", "run"), ("epoch 2: loss", "best.safetensors")),
    "plug_into_your_network": ((), ("logits (2, 1000)",)),
    "compare_two_modules": (("tsm", "tam"), ("tsm: 11,", "tam: ", "ms a clip")),
    "read_a_video": (("videos/val/move_left/0.mp4",), ("frames=12", "(3, 32, 48, 3)")),
    "test_with_views": (("model.safetensors", "videos"), ("1 × 1 views", "10 × 3 views", "of 4 videos")),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    make_folders(folder / "videos")
    torch.manual_seed(0)
    network = tanet.build(TINY.model, classes=2)
    checkpoint.save(
        folder / "model.safetensors", checkpoint.Checkpoint(network, TINY, ("move_left", "move_right"))
    )
    return folder


def test_every_example_is_tested():
    elsewhere = {"label_with_ray"}  # tests/inference/test_halves.py
    assert {path.stem for path in EXAMPLES.glob("*.py")} == SCRIPTS.keys() | elsewhere


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_example_runs_and_prints_expected_words(name, folder, monkeypatch, capsys):
    arguments, printed = SCRIPTS[name]
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    shown = capsys.readouterr().out
    for words in printed:
        assert words in shown

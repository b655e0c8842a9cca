"""Run every benchmark once at a tiny size and check that it writes its rows."""

import csv
import errno
import importlib
from pathlib import Path

import pytest
import torch

from bench.__main__ import BENCHMARKS, main
from bench.common import one_line_errors
from bench.flags import above_zero, at_least, command
from tanet.checkpoints import checkpoint
from tanet.models.backbones2d import BACKBONES
from tanet.models.factory import build
from tests.support.tiny_videos import TINY as TINY_RECIPE
from tests.support.tiny_videos import make, make_folders

ROOT = Path(__file__).parents[2]
ON_CPU = ["--device", "cpu", "--backbone", "resnet18_w16", "--size", "32"]
ONE_KIND = {"h264": ("12.mp4", "libx264", 12, {"bf": "3", "threads": "1"})}
# Do not pin the process to one core, because that would outlast the test.
ANY_CORE = {"use_one_core": lambda: None}


def write_one_video(folder):
    path = folder / "one" / "a" / "video.mp4"
    path.parent.mkdir(parents=True)
    return {"tiny": make(path, frames=30)}


# Benchmark → constants that make it tiny, and flags. Words in capitals are names in the fixture `places`.
TINY = {
    "decode": ({"REAL": {}, "GENERATED": ONE_KIND, "REPEATS": 2, **ANY_CORE}, ["--alone"]),
    "feeding": (
        {"BLOCKS": 2, "VIDEOS": 2, "make_clip": lambda path, **_: make(path, frames=70)},
        [*ON_CPU, *["--batch", "1", "--steps", "4", "--workers", "1"]],
    ),
    "labelling": ({"HEIGHT": 32, "WIDTH": 48, "FRAMES": 8}, ["--videos", "2", "--threads", "1"]),
    "shards": ({"REPEATS": 2, "CLIPS": 1, "videos": write_one_video, **ANY_CORE}, []),
    "short_training": (
        {"SIZES": (32, 32), "BATCH": 4, "BACKBONE": "resnet18_w16"},
        [
            *["--data", "VIDEOS", "--weights", "WEIGHTS", "--steps", "2", "--seeds", "0"],
            *["--temporal", "tam", "--workers", "0"],
        ],
    ),
    "starts": (
        {"SIZES": {"i3d": (32, 32), "mobilenet": (32, 32)}, "BACKBONE": "resnet18_w16"},
        [
            *["--data", "VIDEOS", "--i3d", "NETWORK", "--mobilenet", "WEIGHTS", "--epochs", "1"],
            *["--seeds", "0", "--sets", "forward", "--workers", "0"],
        ],
    ),
    "actions": (
        {"KINETICS": {"move_left": "move_left", "move_right": "move_right"}},
        ["--weights", "NETWORK", "--class-names", "NAMES", "--videos", "VAL", "--device", "cpu"],
    ),
    "timeline": ({"CLIPS": 2}, ["--model", "NETWORK", "--series", "1", "--minutes", "0"]),
    "two_streams": (
        {"ACTIONS": ("move_left", "move_right"), "CORES": 1},
        [
            *["--temporal", "tsm", "--seeds", "0", "--train", "2", "--val", "1", "--epochs", "1"],
            *["--workers", "0"],
        ],
    ),
    "speed3d": (
        {},
        [
            *["--networks", "x3d-xs", "--size", "32", "--clips", "1", "--repeats", "2", "--device", "cpu"],
            *["--forms", "eager", "eager channels-last-3d"],
        ],
    ),
    "cpu": (
        {},
        [
            *["--networks", "x3d-xs", "--size", "32", "--rounds", "1", "--threads", "1"],
            *["--engines", "eager", "optimized"],
        ],
    ),
    "hybrids": (
        {},
        [
            *["--networks", "cpnet-resnet18", "--size", "32", "--clips", "1", "--repeats", "2"],
            *["--device", "cpu", "--forms", "eager"],
        ],
    ),
    "flow": (
        {},
        [*["--methods", "dis", "--frames", "3"], *["--size", "64", "48"]],
    ),
    "speed": (
        {},
        [
            *["--part", "cpu", "--tested", "--networks", "tanet", "--forms", "eager", "--repeats", "2"],
            *ON_CPU[2:],
        ],
    ),
    "verbs": ({}, ["--demo", "DEMO"]),
    "versions": (
        {},
        [
            *["--before", str(ROOT), "--parts", "step", "--clips", "1", "--blocks", "2", "--runs", "1"],
            *ON_CPU[2:],
        ],
    ),
    "views": ({"TESTS": (("sth-1x1", 8),), "REPEATS": 2, "videos": write_one_video, **ANY_CORE}, []),
}
NEEDS_GPU = {"ops"}
TESTED_ELSEWHERE = {"export", "frame_input", "int8", "scaling", "serve", "watch"}


@pytest.fixture
def places(tmp_path):
    folder = tmp_path / "demo"
    for network in ("tam", "none"):
        (folder / network).mkdir(parents=True)
        (folder / network / "metrics.csv").write_text("epoch,train_top1,val_top1,seconds\n1,0.5,0.25,3\n")
    weights = tmp_path / "weights.pth"
    torch.save(BACKBONES["resnet18_w16"]().state_dict(), weights)
    videos, network = make_folders(tmp_path / "videos", train=6, val=2), tmp_path / "network.safetensors"
    classes = ("move_left", "move_right")
    checkpoint.save(network, checkpoint.Checkpoint(build(TINY_RECIPE.model, classes=2), TINY_RECIPE, classes))
    (names := tmp_path / "names.txt").write_text("\n".join(classes))
    found = {"DEMO": folder, "VIDEOS": videos, "VAL": videos / "val", "WEIGHTS": weights}
    return {**found, "NETWORK": network, "NAMES": names}


def test_every_benchmark_is_listed_and_tested():
    entries = {path.stem for path in (ROOT / "bench").glob("*.py") if "\ndef rows(" in path.read_text()}
    assert entries == TINY.keys() | NEEDS_GPU | TESTED_ELSEWHERE
    assert entries == {name for names in BENCHMARKS.values() for name in names}


def test_runner_lists_benchmarks_and_shows_help(capsys):
    main(["--list"])
    assert "  speed          Measure clips per second" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["shards", "--help"])
    assert stop.value.code == 0
    assert "usage: python -m bench shards" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="unknown benchmark 'sped'; choose from speed, speed3d"):
        main(["sped"])


def test_ctrl_c_ends_without_a_traceback():
    @one_line_errors()
    def main():
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 130


def test_help_of_every_comparison_names_its_command_and_defaults(monkeypatch, capsys):
    for file in sorted((ROOT / "projects" / "compare").glob("*.py")):
        if "\ndef main(" not in file.read_text():
            continue
        name = f"projects.compare.{file.stem}"
        monkeypatch.setattr("sys.argv", [name, "--help"])
        with pytest.raises(SystemExit):
            importlib.import_module(name).main()
        assert f"usage: python -m {name} " in capsys.readouterr().out
    parser = command("x", None)
    parser.add_argument("--folds", type=at_least(2), default=5, help="number of folds")
    parser.add_argument("--cases", nargs="+", default=["a", "b"], help="cases to run")
    parser.add_argument("--speed", type=above_zero, help="seconds")
    assert "number of folds (default: 5)" in parser.format_help()
    assert "cases to run (default: a b)" in " ".join(parser.format_help().split())
    assert "None" not in parser.format_help()
    for words, message in (
        (["--folds", "1"], "must be a whole number of at least 2, not 1"),
        (["--speed", "0"], "must be a number above 0, not 0"),
    ):
        with pytest.raises(SystemExit):
            parser.parse_args(words)
        assert message in capsys.readouterr().err


def test_broken_pipe_to_another_process_is_told():
    @one_line_errors()
    def main():
        raise BrokenPipeError(errno.EPIPE, "Broken pipe", "worker 3")

    with pytest.raises(SystemExit, match="worker 3: Broken pipe"):
        main()


def test_new_row_replaces_row_with_same_key(tmp_path, monkeypatch):
    out = tmp_path / "out.csv"

    def run(*rows, key):
        monkeypatch.setattr("bench.verbs.KEY", key, raising=False)
        monkeypatch.setattr("bench.verbs.rows", lambda _: iter(rows))
        main(["verbs", "--out", str(out)])
        return [(row["name"], row["value"]) for row in csv.DictReader(out.open())]

    assert run({"name": "a", "value": 1}, {"name": "b", "value": 2}, key=()) == [("a", "1"), ("b", "2")]
    assert run({"name": "a", "value": 3}, key=("name",)) == [("b", "2"), ("a", "3")]
    assert run({"name": "c", "value": 4}, key=()) == [("c", "4")]
    with pytest.raises(SystemExit, match=r"out.csv: lacks the columns other; is it another command's file"):
        run(key=("other",))
    out.write_text("name,value,old\na,1,x\nb,2,x\n")
    assert run({"name": "b", "value": 3, "new": 4}, key=("name",)) == [("a", "1"), ("b", "3")]
    assert out.read_text().startswith("name,value,old,commit,date,machine,versions,new\na,1,x,,,,,\nb,3,,")
    out.write_text("")
    assert run({"name": "d", "value": 5}, key=("name",)) == [("d", "5")]
    with pytest.raises(SystemExit, match=r"out.csv: not a folder"):
        main(["verbs", "--out", str(out / "x.csv")])


# These take over five seconds, and the parts that they call are tested elsewhere.
SLOW = ("versions", "decode", "feeding", "cpu")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name in SLOW else name for name in TINY]
)
def test_benchmark_writes_rows(name, places, tmp_path, monkeypatch):
    constants, words = TINY[name]
    for constant, value in constants.items():
        monkeypatch.setattr(importlib.import_module(f"bench.{name}"), constant, value)
    out = tmp_path / "rows.csv"
    main([name, *(str(places.get(word, word)) for word in words), "--out", str(out)])
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert {"commit", "date", "machine", "versions"} < rows[0].keys()

"""The benchmark that compares temporal modules: its cache of decoded videos, its runs and its result rows."""

import contextlib
import json
import re
import shutil
import sys
import time
from dataclasses import asdict

import pytest
import torch

from bench.common import HEAD, add_row, read_csv, write_csv
from bench.decoded_cache import Decoded, decoded, kept_open, twins
from projects.compare import jobs
from projects.compare import run as compare
from projects.compare.cases import actions_of
from projects.compare.one_run import column_names, order
from projects.compare.parallel_runs import run_parallel
from tanet.data.annotations import read_split
from tanet.data.dataset import TrainClips
from tanet.data.samples import Sample, Split
from tanet.errors import UserError
from tanet.evaluation.report import Report
from tanet.recipes.recipe import Data
from tanet.synthetic import HARD
from tanet.video import VideoError, open_video
from tests.support.fork_server import quick_teams as quick_teams
from tests.support.tiny_videos import make_folders

TINY = ["model.backbone=resnet18_w16", "data.resize=32", "data.size=32", "eval.resize=32", "eval.size=32"]
TINY += ["model.frames=4", "optim.epochs=1", "optim.warmup=0", "optim.batch=4", "eval.every=1"]


@pytest.mark.parametrize("few", [0, 50])
def test_decoded_cache_equals_video_files(few, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.decoded_cache.FEW", few)
    root = make_folders(tmp_path / "videos", train=1, val=1)
    with decoded(root) as cache:
        assert cache.videos == 4
        for path in root.rglob("*.mp4"):
            copy = cache.root / f"{path.relative_to(root)}.npy"
            with open_video(path) as video, open_video(copy) as other:
                assert other.frames == video.frames
                every = range(video.info.frames)
                assert (other.read(every) == video.read(every)).all()
        split = read_split(Data(root=str(cache.root)))
        assert (len(split.train), len(split.val)) == (2, 2)
    assert not cache.root.exists()


def test_full_disk_is_told_while_videos_are_decoded(tmp_path, monkeypatch):
    root = make_folders(tmp_path / "videos", train=1, val=1)

    def full(*_):
        raise OSError("8652288 requested and 2097024 written")  # NumPy's words for it

    monkeypatch.setattr("numpy.save", full)
    with pytest.raises(UserError, match="no space for the decoded videos; set TMPDIR"), decoded(root):
        pass


def test_clips_without_a_twin_are_found(tmp_path):
    for name in ("Diving/1.mp4", "DivingReversed/1.mp4", "Diving/2.mp4", "move_left/3.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def lone(*names):
        return jobs.one_way(Split(tuple(Sample(str(tmp_path / name), 0) for name in names), (), ("a",)))

    assert lone("Diving/1.mp4", "DivingReversed/1.mp4", "Diving/2.mp4") == [str(tmp_path / "Diving/2.mp4")]
    assert lone("move_left/3.mp4") == []  # no class has another direction


def test_row_follows_a_last_line_without_its_break(tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2")
    add_row(tmp_path / "rows.csv", {"a": 3, "b": 4})
    assert (tmp_path / "rows.csv").read_text() == "a,b\n1,2\n3,4\n"


def test_videos_kept_open_give_the_same_clips(tmp_path):
    root = make_folders(tmp_path / "videos", train=2, val=1)
    with decoded(root) as cache:
        data = Data(root=str(cache.root), size=32, resize=32)
        split = read_split(data)
        clips = TrainClips(split.train, data, frames=4, classes=split.classes)
        once = [clips[key][0] for key in range(8)]
        with kept_open():
            twice = [[clips[key][0] for key in range(8)] for _ in range(2)]
        for kept in twice:
            assert all(torch.equal(*pair) for pair in zip(once, kept, strict=True))
        for file in cache.root.rglob("*.npy"):
            file.unlink()
        assert isinstance(clips[0], VideoError)  # opened again


def test_forward_and_reversed_clip_are_read_from_one_file(tmp_path):
    root = make_folders(tmp_path / "videos", train=1, val=1)
    one, other = (path.parent for path in sorted((root / "train").rglob("*.mp4")))
    root = tmp_path / "ways"
    pairs = []
    for number in range(2, 6):
        pair = tuple(root / "val" / name / f"{number}.mp4" for name in ("Dive", "DiveReversed"))
        for path, like in zip(pair, (one, other), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(like / "0.mp4", path)
        assert twins(pair[0]) == twins(pair[1]) == pair
        pairs.append(pair)
    alone = root / "val" / "Dive" / "alone.mp4"
    shutil.copy(one / "0.mp4", alone)
    assert twins(alone) is None

    def frames(path):
        with open_video(path) as video:
            return video.read(range(video.info.frames))

    def read_cached(path, cache):
        return frames(cache.root / f"{path.relative_to(root)}.npy")

    as_files = {path: frames(path) for pair in pairs for path in pair}
    forwards = 0
    with decoded(root, one_file=True) as cache:
        for forward, backward in pairs:
            assert (read_cached(forward, cache) == read_cached(backward, cache).flip(0)).all()
            from_forward = bool((read_cached(forward, cache) == as_files[forward]).all())
            assert from_forward or (read_cached(backward, cache) == as_files[backward]).all()
            forwards += from_forward
    assert forwards == len(pairs) / 2
    with decoded(root) as cache:
        assert all((read_cached(path, cache) == as_files[path]).all() for path in as_files)
    samples = tuple(Sample(str(path), label) for pair in pairs for label, path in enumerate(pair))
    split = Split(samples, samples, ("Dive", "DiveReversed"))
    assert jobs.counted(split, as_files=False) == "8 + 8, both ways from one file, in turn"
    assert jobs.counted(split, as_files=True) == "8 + 8"


def halve_even_number(job):
    if job[0] % 2:
        raise ValueError("an odd one")
    time.sleep(0.2)
    return job[0] // 2


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_error_in_one_run_keeps_results_of_others(capsys, processes):
    found, jobs = [], ((n,) for n in (1, 4, 6, 8))
    with pytest.raises(ValueError, match="an odd one") as raised:
        found.extend(run_parallel(halve_even_number, jobs, processes=processes))
    assert sorted(found) == [((4,), 2), ((6,), 3), ((8,), 4)]
    assert raised.value.__notes__ == ["(1,)"]
    assert capsys.readouterr().err == "(1,): an odd one\n"


@pytest.mark.slow
def test_second_call_keeps_finished_runs_and_rows_contain_their_command(tmp_path, monkeypatch, capsys):
    make_folders(tmp_path / "videos", train=4, val=2)
    out = tmp_path / "compare.csv"

    def run(*flags):
        words = ["--benchmark", "synthetic", "--data", str(tmp_path / "videos"), "--out", str(out)]
        words += ["--workers", "0"]
        monkeypatch.setattr(sys, "argv", ["compare", *words, "--change", *TINY, *flags])
        compare.main()

    run("--only", "tsm", "--seeds", "1")
    (first,) = read_csv(out)
    assert first["case"] == "tsm"
    assert (first["videos"], first["epochs"], first["start"]) == ("8 + 4", "1", "scratch")
    assert first["command"].endswith("--tables 2 --only tsm --seeds 1")
    assert 0 <= float(first["val_top1"]) <= 1
    run("--only", "tsm", "none", "--seeds", "1", "--no-graph")
    rows = read_csv(out)
    assert rows[0] == first
    assert rows[1]["command"].endswith("--no-graph --tables 2 --only none --seeds 1")
    assert "kept: tsm, seed 1" in capsys.readouterr().out
    assert [row["case"] for row in rows] == ["tsm", "none"]
    run("--tables", "5a", "--only", "tam", "--seeds", "1", "--seconds", "0.001")
    assert "stopped after 0.001 s" in capsys.readouterr().out
    assert len(read_csv(out)) == 2
    run("--only", "tsm", "none", "--seeds", "1", "--processes", "2", "--out", str(tmp_path / "abreast.csv"))
    again = {row["case"]: row["train_top1"] for row in read_csv(tmp_path / "abreast.csv")}
    assert again == {row["case"]: row["train_top1"] for row in rows}  # the seed determines the result
    run("--only", "tsm", "none", "--seeds", "1", "--side-by-side", "--out", str(tmp_path / "together.csv"))
    differ = {"seconds": "", "command": ""}
    together = {row["case"]: row | differ for row in read_csv(tmp_path / "together.csv")}
    assert together == {row["case"]: row | differ for row in rows}
    with pytest.raises(SystemExit, match="unknown cases: tma; choose from none, pool"):
        run("--only", "tma")


@pytest.mark.parametrize(
    "classes",
    [("Dunk", "Dive", "DunkReversed", "DiveReversed"), ("appear", "turn_left", "vanish", "turn_right")],
)
def test_order_accuracy_counts_only_correct_actions(classes):
    labels = [0, 2, 1, 3, 0, 1]
    answers = [0, 0, 1, 3, 3, 1]  # one in the wrong direction, one with another action
    samples = tuple(Sample(f"{number}.mp4", label) for number, label in enumerate(labels))
    report = Report(samples, classes, torch.eye(4)[answers])
    one, two = actions_of(classes)[:2]
    assert order(report) == {
        "val_action": 0.8333,
        "val_order": 0.8,
        "val_ways": f"{one} 0.5000; {two} 1.0000",
    }


def run_and_get_error(monkeypatch, root, *flags):
    words = ["--benchmark", "synthetic", "--data", str(root), "--out", str(root / "out.csv")]
    monkeypatch.setattr(sys, "argv", ["compare", *words, *flags])
    with pytest.raises(SystemExit) as stopped:
        compare.main()
    return str(stopped.value)


def test_benchmark_rejects_unsplit_videos_and_fixed_fields(tmp_path, monkeypatch):
    root = make_folders(tmp_path / "videos", train=2, val=1)
    assert "train has no val/ folder: 20% of each class was set aside" in run_and_get_error(
        monkeypatch, root / "train"
    )
    for field in ("data.workers=3", "data.transform_on=workers", "model.weights=x"):
        assert run_and_get_error(monkeypatch, root, "--change", field).startswith(
            f"--change {field}: the benchmark sets"
        )


def test_other_weights_or_videos_start_new_run(tmp_path, monkeypatch):
    root, runs = make_folders(tmp_path / "videos", train=2, val=2), []

    def run(recipe, **_):
        runs.append(recipe.model.weights)
        return dict.fromkeys(column_names(each_clip=False, ablate=False), "") | {"val_top1": 0.5}

    def count_runs(*flags):
        words = ["--benchmark", "synthetic", "--data", str(root), "--out", str(tmp_path / "out.csv")]
        words += ["--only", "tsm", "--seeds", "0", "--change", *TINY]
        monkeypatch.setattr(sys, "argv", ["compare", *words, *flags])
        compare.main()
        return len(runs)

    monkeypatch.setattr(jobs, "run", run)
    monkeypatch.setattr(compare, "decoded", lambda root, **_: contextlib.nullcontext(Decoded(root, 0)))
    monkeypatch.setattr(jobs, "build_network", lambda *_, **__: None)  # w.pth is no file of weights
    (file := tmp_path / "w.pth").touch()
    weights = ("--weights", f"resnet18_w16={file}")
    assert [count_runs(), count_runs(), count_runs(*weights), count_runs(*weights)] == [1, 1, 2, 2]
    (root / "val" / "move_left" / "0.mp4").rename(root / "train" / "move_left" / "more.mp4")
    assert count_runs() == 3
    still = {"seed": 0, "height": 96, "width": 128, "dials": asdict(HARD) | {"camera": 0.0}}
    (root / "synthetic.json").write_text(json.dumps(still))
    assert [count_runs(), count_runs()] == [4, 4]
    assert runs == ["", str(file), "", ""]
    rows = read_csv(tmp_path / "out.csv")
    assert [row["start"] for row in rows] == ["scratch", "ImageNet", "scratch", "scratch"]
    assert [row["made"] for row in rows] == ["", "", "", "camera=0"]
    write_csv(tmp_path / "out.csv", [{name: row[name] for name in row if name != "made"} for row in rows])
    with pytest.raises(SystemExit, match="has other columns, and lacks made; choose another --out"):
        count_runs()


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--out", "FOLDER"], "--out FOLDER: not a file"),
        (["--out", "FOLDER/a.csv/b.csv"], "FOLDER/a.csv: not a folder"),
        (["--out", "/dev/full"], "--out /dev/full: not a file"),
        (["--data", "FOLDER/nowhere"], "--data FOLDER/nowhere: no such folder"),
        (
            ["--out", "FOLDER/a.csv", "--ablate"],
            "were made without --ablate: rows made with it need another",
        ),
        (["--weights", "resnet50=FOLDER/a.csv"], "--weights resnet50=…: the chosen cases have resnet18_w16"),
        (["--init", "FOLDER", "--weights", "resnet18_w16=FOLDER/a.csv"], "--init and --weights both set"),
        (["--init", "nowhere"], "--init nowhere: no such folder"),
        (["--out", "FOLDER/old.csv"], "FOLDER/old.csv has other columns than new rows"),
        (["--benchmark", "arrow6", "--tables", "systems"], "--tables systems: these networks are for"),
        (["--fold", "0"], "--fold needs --folds"),
        (["--folds", "1"], "--folds 1: give 2 folds or more"),
        (
            ["--only", "tsm", "--init", "FOLDER"],
            r"FOLDER/tsm.safetensors: cannot be read as weights \(a text file\)",
        ),
        (["--weights", "resnet18_w16=FOLDER/a.csv"], "FOLDER/a.csv: cannot be read as weights"),
        (["--change", "model.temporal=tam"], "--change model.temporal=tam: no effect on the case 'none'"),
    ],
)
def test_mistakes_are_told_before_any_work(flags, line, tmp_path, monkeypatch):
    root = make_folders(tmp_path / "videos", train=2, val=2)
    own = column_names(each_clip=False, ablate=False)
    row = dict.fromkeys((*HEAD, *compare.KEY, *own, "command"), "")
    write_csv(tmp_path / "a.csv", [row])
    write_csv(tmp_path / "old.csv", [row | {"new": ""}])
    (tmp_path / "tsm.safetensors").write_text("not weights")
    words = ["--out", str(tmp_path / "a.csv"), *(text.replace("FOLDER", str(tmp_path)) for text in flags)]
    monkeypatch.setattr(compare, "decoded", None)
    text = run_and_get_error(monkeypatch, root, *words)
    assert re.search(line.replace("FOLDER", str(tmp_path)), text)

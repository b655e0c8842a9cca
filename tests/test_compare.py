"""The benchmark that compares modules: the paper's rows once each, runs that go on, honest tables."""

import contextlib
import hashlib
import shutil
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from clips import make_folders
from torch.utils.data import DataLoader, Dataset

from bench import compare, compare_plot, compare_table
from bench.abreast import abreast
from bench.common import read_csv, write_csv
from bench.compare_cases import BENCHMARKS, START, cases, change, paper_top1, recipe_id
from bench.compare_plot import Point, bands, frontier
from bench.decoded import Raw, decoded, twins
from tanet import datasets
from tanet.annotation import Sample, Split
from tanet.evaluate import Report
from tanet.plan import plan
from tanet.recipe import Recipe
from tanet.recipes import RECIPES, TABLES
from tanet.video import open_video

TINY = ["model.backbone=resnet18_w16", "data.resize=32", "data.size=32", "eval.resize=32", "eval.size=32"]
TINY += ["model.frames=4", "optim.epochs=1", "optim.warmup=0", "optim.batch=4", "eval.every=1"]


def test_rows_of_all_tables_are_there_and_equal_ones_run_once():
    for recipe in BENCHMARKS.values():
        found = cases(list(TABLES), recipe)
        rows = [row for case in found for row in case.rows]
        assert sorted(rows) == sorted((table, row) for table in TABLES for row in TABLES[table])
        models = [case.model for case in found]
        assert all(one not in models[:number] for number, one in enumerate(models))
        tam = next(case for case in found if case.name == "tam")
        assert {("2", "tam"), ("1a", "alpha2-beta4"), ("5a", "b"), ("5b", "res2-5")} <= set(tam.rows)
        assert tam.model == replace(recipe.model, temporal="tam")


def test_a_case_changes_what_its_row_changes():
    recipe = BENCHMARKS["arrow6"]
    by_name = {case.name: case.model for case in cases(["1b", "3", "5b"], recipe)}
    assert by_name["tam frames=16 kernel=5"] == replace(recipe.model, frames=16, kernel=5)
    assert by_name["tam stages=res4+res5"] == replace(recipe.model, stages=("res4", "res5"))
    assert by_name["none backbone=resnet50"] == replace(recipe.model, backbone="resnet50", temporal="none")
    assert by_name["none"] == replace(recipe.model, temporal="none")  # MobileNetV2 is its usual network


def test_what_the_paper_has_no_row_for_is_a_table_of_its_own():
    recipe = BENCHMARKS["arrow6"]
    found = cases(["2", START], recipe)
    assert [case.name for case in found[-3:]] == ["tam identity=2.0", "tam identity=6.0", "tam identity=19.0"]
    assert found[-1].model == replace(recipe.model, identity=RECIPES["finetune"].model.identity)
    assert (START, "0") in next(case for case in found if case.name == "tam").rows
    assert paper_top1(START, "6") is None
    assert paper_top1("2", "tam") == 76.1


def test_the_recipe_is_the_same_for_all_but_for_the_model():
    recipe = change(BENCHMARKS["synthetic"], ["optim.epochs=3", "data.scales=(1.0,)", "data.flip=none"])
    assert recipe.optim == replace(BENCHMARKS["synthetic"].optim, epochs=3)
    assert (recipe.data.scales, recipe.data.flip) == ((1.0,), "none")


def test_the_plan_has_nothing_to_say_against_the_recipes():
    videos = Split((Sample("a.mp4", 0),) * 300, (Sample("b.mp4", 1),) * 100, ("appear", "vanish"))
    for recipe in BENCHMARKS.values():
        ready = replace(recipe, model=replace(recipe.model, weights="w.pth"))
        assert not plan(ready, videos, reference=ready).warnings


def test_rows_of_another_recipe_are_told_apart():
    recipe = BENCHMARKS["synthetic"]
    assert recipe_id(recipe) == recipe_id(replace(recipe, seed=3)) != recipe_id(BENCHMARKS["arrow6"])
    for text in ("optim.epochs=3", "eval.resize=96", "model.dropout=0.5", "data.flip=none"):
        assert recipe_id(change(recipe, [text])) != recipe_id(recipe)
    assert recipe_id(Recipe()) == hashlib.sha256(b"[]").hexdigest()[:8]  # new fields leave old rows theirs


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("optim.epoch=3", "'optim.epoch=3' changes no field"),
        ("seed=3", "changes no field"),
        ("optim.epochs=many", "many is no value for optim.epochs, now 20"),
        ("data.flip=up", "unknown flip 'up'"),
    ],
)
def test_wrong_changes_are_named(text, line):
    with pytest.raises(ValueError, match=line):
        change(BENCHMARKS["synthetic"], [text])


def test_videos_are_read_from_memory_as_from_their_files(tmp_path):
    root = make_folders(tmp_path / "videos", train=1, val=1)
    path = next(root.rglob("*.mp4"))
    indices = np.array([[3, 0], [7, 3]])
    with open_video(path) as video:
        wanted, info = video.read(indices), video.info
    with decoded(root) as raw:
        assert raw.videos == 4
        path.unlink()
        with datasets.open_video(path) as video:
            assert (video.frames, video.info.height) == (info.frames, info.height)
            assert (video.read(indices) == wanted).all()
    assert datasets.open_video is open_video


def test_both_ways_of_a_clip_are_played_from_one_file(tmp_path):
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
        with datasets.open_video(path) as video:
            return video.read(range(video.info.frames))

    as_files = {path: frames(path) for pair in pairs for path in pair}
    forwards = 0
    with decoded(root, one_file=True):
        for forward, backward in pairs:
            assert (frames(forward) == frames(backward).flip(0)).all()
            from_forward = bool((frames(forward) == as_files[forward]).all())
            assert from_forward or (frames(backward) == as_files[backward]).all()
            forwards += from_forward
    assert 0 < forwards < len(pairs)
    with decoded(root):
        assert all((frames(path) == as_files[path]).all() for path in as_files)
    samples = tuple(Sample(str(path), label) for pair in pairs for label, path in enumerate(pair))
    split = Split(samples, samples, ("Dive", "DiveReversed"))
    assert compare.counted(split, as_files=False) == "8 + 8, both ways from one file"
    assert compare.counted(split, as_files=True) == "8 + 8"


class FirstFrames(Dataset):
    """Cut as training cuts them: by a process of the feed, through `tanet.datasets`."""

    def __init__(self, paths):
        self.paths = paths

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        with datasets.open_video(self.paths[index]) as video:
            return video.read([0])


def first_frames(paths):
    return torch.cat(list(DataLoader(FirstFrames(paths), batch_size=None, num_workers=1)))


@pytest.mark.slow
def test_runs_abreast_read_what_was_decoded_once(tmp_path):
    paths = sorted(make_folders(tmp_path / "videos", train=2, val=1).rglob("*.mp4"))
    wanted = {path: first_frames([path]) for path in paths}
    with decoded(tmp_path / "videos") as raw:
        for path in paths:
            path.unlink()
        for processes in (1, 2):
            found = dict(abreast(first_frames, ((path,) for path in paths), processes=processes, raw=raw))
            assert sorted(found) == [(path,) for path in paths]
            assert all((frames == wanted[path]).all() for (path,), frames in found.items())


def half_of(job):
    if job[0] % 2:
        raise ValueError("an odd one")
    time.sleep(0.5)
    return job[0] // 2


@pytest.mark.slow
def test_an_error_loses_no_other_run(tmp_path):
    found = []
    with pytest.raises(ValueError, match="an odd one") as raised:
        found.extend(abreast(half_of, ((n,) for n in (1, 4, 6, 8)), processes=2, raw=Raw(tmp_path, 0)))
    assert found == [((4,), 2)]
    assert raised.value.__notes__ == ["(1,)"]


@pytest.mark.slow
def test_runs_go_on_where_they_were_and_say_how_to_repeat_one(tmp_path, monkeypatch, capsys):
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
    assert again == {row["case"]: row["train_top1"] for row in rows}  # the seed settles it
    with pytest.raises(SystemExit, match="unknown cases: tma; known are none, pool"):
        run("--only", "tma")


@pytest.mark.parametrize(
    "classes",
    [("Dunk", "Dive", "DunkReversed", "DiveReversed"), ("appear", "turn_left", "vanish", "turn_right")],
)
def test_order_is_counted_where_the_action_is_told(classes):
    labels = [0, 2, 1, 3, 0, 1]
    answers = [0, 0, 1, 3, 3, 1]  # one the wrong way, one another action
    samples = tuple(Sample(f"{number}.mp4", label) for number, label in enumerate(labels))
    report = Report(samples, classes, torch.eye(4)[answers])
    assert compare.order(report) == {"val_action": 0.8333, "val_order": 0.8}


def refused(monkeypatch, root, *flags):
    words = ["--benchmark", "synthetic", "--data", str(root), "--out", str(root / "out.csv")]
    monkeypatch.setattr(sys, "argv", ["compare", *words, *flags])
    with pytest.raises(SystemExit) as stopped:
        compare.main()
    return str(stopped.value)


def test_benchmarks_refuse_videos_that_they_would_split_and_fields_that_they_set(tmp_path, monkeypatch):
    root = make_folders(tmp_path / "videos", train=2, val=1)
    assert "train has no val/ folder: 20% of each class was set aside" in refused(monkeypatch, root / "train")
    for field in ("data.workers=3", "data.transform_on=workers", "model.weights=x"):
        assert refused(monkeypatch, root, "--change", field).startswith(
            f"--change {field}: the benchmark sets"
        )


def test_other_weights_or_other_videos_are_another_run(tmp_path, monkeypatch):
    root, runs = make_folders(tmp_path / "videos", train=2, val=2), []

    def run(recipe, *, graph):
        runs.append(recipe.model.weights)
        return {"val_top1": 0.5, "seconds": 1}

    def compared(*flags):
        words = ["--benchmark", "synthetic", "--data", str(root), "--out", str(tmp_path / "out.csv")]
        words += ["--only", "tsm", "--seeds", "0", "--change", *TINY]
        monkeypatch.setattr(sys, "argv", ["compare", *words, *flags])
        compare.main()
        return len(runs)

    monkeypatch.setattr(compare, "run", run)
    monkeypatch.setattr(compare, "decoded", lambda root, **_: contextlib.nullcontext(Raw(root, 0)))
    weights = ("--weights", "resnet18_w16=w.pth")
    assert [compared(), compared(), compared(*weights), compared(*weights)] == [1, 1, 2, 2]
    (root / "val" / "move_left" / "0.mp4").rename(root / "train" / "move_left" / "more.mp4")
    assert compared() == 3
    assert runs == ["", "w.pth", ""]
    assert [row["start"] for row in read_csv(tmp_path / "out.csv")] == ["scratch", "ImageNet", "scratch"]


def test_what_a_network_can_not_be_is_left_out_aloud(capsys):
    found = compare.buildable(cases(["5a"], BENCHMARKS["synthetic"]))
    assert [case.name for case in found] == ["tam position=a", "tam", "tam position=d"]
    assert "left out: tam position=c: position c is before conv3" in capsys.readouterr().out


def measured(tmp_path):
    top1 = {"none": (0.40, 0.50), "tsm": (0.80, 0.70), "tam": (0.60, 0.75)}
    rows = [
        {
            "benchmark": "arrow6", "recipe": recipe_id(BENCHMARKS["arrow6"]), "changes": "", "case": case,
            "seed": seed, "start": "ImageNet",
            "classes": 6, "videos": "378 + 210", "views": "4 x 3", "epochs": 70,
            "machine": "a GPU", "val_top1": value, "val_order": value,
        }
        for case, values in top1.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip
    rows.append(rows[0] | {"case": "pool", "seed": 7, "val_top1": 0.5})  # of a seed that TAM has not had
    rows.append(rows[2] | {"recipe": "of before", "val_top1": 0.1})
    write_csv(tmp_path / "compare.csv", rows)
    speeds = [
        {"benchmark": "arrow6", "changes": "", "case": case, "clips": 32, "size": 128, "ms_p50": 3.2 * ms,
         "clips_s": 1e4 / ms, "machine": "a GPU"}
        for ms, case in enumerate(top1, start=1)
    ]  # fmt: skip
    write_csv(tmp_path / "speed.csv", speeds)
    return ["--data", str(tmp_path / "compare.csv"), "--speed", str(tmp_path / "speed.csv")]


def test_the_table_pairs_seeds_and_shows_the_papers_figures(tmp_path, monkeypatch):
    out = tmp_path / "compare.md"
    out.write_text("# What is seen\n\n" + compare_table.MARK + "\nof yesterday\n")
    monkeypatch.setattr(sys, "argv", ["table", *measured(tmp_path), "--out", str(out)])
    compare_table.main()
    text = out.read_text()
    assert text.startswith("# What is seen\n\n" + compare_table.MARK)
    assert "of yesterday" not in text
    out.write_text("A page of somebody's.")
    with pytest.raises(SystemExit, match="would be lost"):
        compare_table.main()
    row = next(line for line in text.splitlines() if line.startswith("| `tsm`"))
    assert "| 5,000 | 75.0 ± 7.1 | +7.5 ± 17.7 | 75.0 ± 7.1 | 2 | 74.1 |" in row
    assert "2.23 M" in row  # MobileNetV2 for six classes
    assert "| 50.0 |  | 40.0 | 1 | 73.1 |" in text  # nothing to pair with
    assert "Best here: `tsm`; in the paper: `tam`. Rank correlation of the two orders +0.80" in text
    assert "Table 1a" not in text


def test_a_difference_is_marked_where_it_is_more_than_chance():
    assert compare_table.difference([2.0]) == "+2.0"
    assert compare_table.difference([1.0, 3.0, 2.0]) == "+2.0 ± 1.0"  # t = 3.46, and 4.30 are needed
    assert compare_table.difference([1.5, 2.5, 2.0]) == "+2.0 ± 0.5 \\*"  # t = 6.93
    assert compare_table.difference([-1.0, -3.0, -2.0, -2.0, -2.0]) == "-2.0 ± 0.7 \\*"


def test_differences_are_of_the_same_start(tmp_path):
    measured(tmp_path)
    rows = compare_table.current(read_csv(tmp_path / "compare.csv"))
    rows.append(rows[2] | {"start": "scratch", "val_top1": "0.3"})  # tsm, seed 0
    found = compare_table.lines("2", "arrow6", "", rows, [])
    tsm = {line.start: line for line in found if line.case.name == "tsm"}
    assert tsm["ImageNet"].differences == pytest.approx([20, -5])
    assert tsm["scratch"].top1 == {0: pytest.approx(30)}
    assert tsm["scratch"].differences == []


def test_speeds_are_of_one_machine_and_of_the_same_changes(tmp_path, monkeypatch):
    flags = measured(tmp_path)
    speeds = read_csv(tmp_path / "speed.csv")
    other = {"changes": "eval.size=40", "clips_s": "1", "machine": "another GPU"}
    write_csv(tmp_path / "speed.csv", [*speeds, *(row | other for row in speeds)])
    monkeypatch.setattr(sys, "argv", ["table", *flags, "--out", str(tmp_path / "compare.md")])
    compare_table.main()
    assert "| 5,000 | 75.0" in (tmp_path / "compare.md").read_text()
    write_csv(tmp_path / "speed.csv", [*speeds, speeds[0] | {"machine": "another GPU"}])
    line = "arrow6 was timed on several machines, keep one: a GPU, another GPU"
    with pytest.raises(SystemExit, match=line):
        compare_table.main()
    with pytest.raises(ValueError, match=line):
        compare_table.timed(read_csv(tmp_path / "speed.csv"), "arrow6", "")


def test_the_plot_has_a_point_for_each_module_that_was_timed(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    out = tmp_path / "compare.svg"
    monkeypatch.setattr(
        sys, "argv", ["plot", "--benchmark", "arrow6", *measured(tmp_path), "--out", str(out)]
    )
    compare_plot.main()
    assert out.read_text().startswith("<?xml")


def test_the_frontier_and_the_parts_of_the_axis():
    points = [Point("a", 1, 50, 0), Point("b", 2, 40, 1), Point("c", 3, 60, 0), Point("d", 1.01, 50.1, 0)]
    assert [point.name for point in frontier(points)] == ["a", "d", "c"]
    assert bands(points) == [(60, 60), (50, 50.1), (39, 41)]
    assert bands(points[:2]) == [(50, 50), (39, 41)]
    assert bands([*points, Point("e", 3, 55, 0), Point("f", 2, 46, 1)]) == [(39, 60)]
    assert bands(points[:1]) == [(50, 50)]

"""Cross-validation by group: joined clips, folds, rows with an answer for each clip, and their power."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bench.common import read_csv, write_csv
from projects.compare import folds, ways
from projects.compare import run as compare
from projects.compare.statistics import difference
from tests.projects.test_compare import TINY
from tests.support.tiny_videos import make_folders


def clip_names(root, action, groups):
    """Make empty clips of these groups, in both directions, half of them in val/."""
    for number, group in enumerate(groups):
        for end in ("", "Reversed"):
            file = root / ("val" if number % 2 else "train") / f"{action}{end}" / f"{group}_c{number}.mp4"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()


def test_sets_are_joined_and_groups_stay_together(tmp_path, monkeypatch, capsys):
    clip_names(tmp_path / "arrow6", "Diving", ["v_Diving_g01", "v_Diving_g01", "v_Diving_g02"])
    clip_names(tmp_path / "arrow6", "Archery", ["v_Archery_g01"])
    clip_names(tmp_path / "arrow30", "golf", ["g001", "g001", "g002"])
    clip_names(tmp_path / "arrow30", "walk", ["g003"])  # its direction cannot be seen
    words = [str(tmp_path / name) for name in ("arrow6", "arrow30", "ways")]
    monkeypatch.setattr(sys, "argv", ["folds", *words])
    folds.main()
    assert "14 files of 5 groups" in capsys.readouterr().out
    clips = sorted((tmp_path / "ways").glob("*/*"))
    assert folds.group_of(clips[0]) == "Archery-g01"  # the groups of UCF-101 belong to one action
    lists = [folds.write_lists(tmp_path / "ways", tmp_path, folds=2, fold=fold) for fold in (0, 1)]
    names = [[Path(path).name for path in one.read_text().split()[::2]] for pair in lists for one in pair]
    train, val, other_train, other_val = (sorted(some) for some in names)
    assert (train, val) == (other_val, other_train)
    assert sorted(train + val) == sorted(clip.name for clip in clips)
    assert not {folds.group_of(name) for name in train} & {folds.group_of(name) for name in val}
    with pytest.raises(ValueError, match="6 folds need as many groups of clips, but there are 5"):
        folds.write_lists(tmp_path / "ways", tmp_path, folds=6, fold=0)
    with pytest.raises(ValueError, match=r"a\.mp4: the name must begin with a group"):
        folds.group_of("a.mp4")


def test_folds_have_similar_numbers_of_clips_of_each_class():
    clips = [
        Path(f"{label}/{label}{group}__{number}.mp4")
        for label, sizes in (("a", (5, 4, 3, 3, 2, 2, 1)), ("b", (6, 3, 3)))
        for group, size in enumerate(sizes)
        for number in range(size)
    ]
    found = folds.assign(clips, folds=2)
    counts = Counter((clip.parent.name, found[folds.group_of(clip)]) for clip in clips)
    assert {counts["a", 0], counts["a", 1]} == {10}
    assert {counts["b", 0], counts["b", 1]} == {6}


def test_interval_covers_clips_of_a_group_that_are_alike():
    generator = np.random.default_rng(0)
    groups = [str(group) for group in range(20) for _ in range(10)]
    of_group = np.repeat(generator.random(20) < 0.5, 10)
    alike = difference(np.stack([of_group]), np.stack([~of_group]), groups)
    apart = difference(np.stack([of_group]), np.stack([~of_group]), [str(n) for n in range(200)])
    assert alike.mean == apart.mean == pytest.approx(200 * of_group.mean() - 100)
    assert alike.smallest > 2.5 * apart.smallest
    assert alike.low < alike.mean < alike.high
    same = difference(np.stack([of_group]), np.stack([of_group]), groups)
    assert tuple(same) == (0, 0, 0, 0)


@pytest.mark.slow
def test_folds_are_trained_and_compared(tmp_path, monkeypatch, capsys):
    made = make_folders(tmp_path / "made", train=4, val=0)
    root = tmp_path / "ways"
    for number, file in enumerate(sorted(made.rglob("*.mp4"))):
        link = root / file.parent.name / f"g{number % 3}__{file.name}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    out = tmp_path / "ways.csv"
    words = ["--benchmark", "ways", "--data", str(root), "--out", str(out), "--workers", "0"]
    words += ["--folds", "2", "--seeds", "0", "--ablate", "--tables", "2", "static", "--change", *TINY]
    words += ["--only", "none", "tam static_kernel=shift"]
    monkeypatch.setattr(sys, "argv", ["compare", *words])
    compare.main()
    compare.main()  # the rows of the first call have the columns that the second expects, and are kept
    rows = read_csv(out)
    assert len(rows) == 4
    assert sum(len(row["right"]) for row in rows) == 16
    assert rows[0]["videos"].endswith(", fold 0 of 2")
    assert "--ablate --folds 2 --fold 0" in rows[0]["command"]
    assert [bool(row["without_s"] and row["without_g"]) for row in rows] == [
        row["case"] != "none" for row in rows
    ]
    ways.main([str(out), "--data", str(root), "--case", "tam static_kernel=shift"])
    told = capsys.readouterr().out
    assert "8 videos of 3 groups, 2 folds" in told
    assert "| `none` | 1 |" in told
    write_csv(tmp_path / "twice.csv", [*rows, rows[0] | {"start": "distilled"}])
    with pytest.raises(SystemExit, match="'none' has two rows of seed 0, fold 0; if they started from"):
        ways.main([str(tmp_path / "twice.csv"), "--data", str(root), "--case", "none"])
    write_csv(tmp_path / "damaged.csv", [rows[0] | {"right": "10x0"}])
    with pytest.raises(SystemExit, match=r"damaged\.csv: a row of none, seed 0, is damaged"):
        ways.main([str(tmp_path / "damaged.csv"), "--data", str(root)])
    for column, value, message in (
        ("videos", "4 + 4, fold 0 of 0", "its column videos is wrong"),
        ("videos", "4 + 4, fold x of 2", "its column videos is wrong"),
        ("seed", "zero", "'zero' in the column seed is not a number"),
        ("val_action", "", "'' in the column val_action is not a number"),
    ):
        write_csv(tmp_path / "damaged.csv", [rows[0] | {column: value}])
        with pytest.raises(SystemExit, match=f"damaged.csv: .*{message}"):
            ways.main([str(tmp_path / "damaged.csv"), "--data", str(root), "--case", "none"])
    monkeypatch.setattr(sys, "argv", ["compare", *words, "--fold", "2"])
    with pytest.raises(SystemExit, match="there are 2 folds, counted from 0"):
        compare.main()

"""`tanet data` from the command line: index, check and pack, and the quarantine list in training."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest

from tanet.cli import data_pack, main
from tanet.data.annotations import read_split, read_test_samples
from tanet.data.samples import Sample
from tanet.data.tools import check as inspection
from tanet.data.tools import index as indexing
from tanet.data.tools import pack as packing
from tanet.data.tools.check import Finding
from tanet.recipes.recipe import Data
from tanet.video import VideoInfo
from tests.support.fork_server import quick_pool as quick_pool
from tests.support.tiny_videos import make, make_folders

HEAD = "label,youtube_id,time_start,time_end,split"


@pytest.fixture
def kinetics(tmp_path):
    """Annotations of five Kinetics videos, of which three files exist and one of them is no video."""
    rows = "".join(f"{label},id{number},0,10,train\n" for number, label in enumerate("bbaac"))
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "train.csv").write_text(f"{HEAD}\n{rows}")
    make(tmp_path / "train" / "b" / "id0_000000_000010.mp4", frames=12)
    make(tmp_path / "train" / "id3_000000_000010.mp4", frames=9)
    (tmp_path / "train" / "id2_000000_000010.mp4").write_bytes(b"an error page")
    return tmp_path


def run_index(root, *flags):
    out = root / "lists" / "mine.csv"
    command = ["data", "index", "kinetics400", str(root), "--out", str(out), "--workers", "1", *flags]
    return main(command), out


def test_index_writes_list_for_training_and_reports_missing_videos(kinetics, capsys, monkeypatch):
    status, out = run_index(kinetics)
    assert status == 0
    shown = capsys.readouterr()
    assert f"{out}: 2 of 5 videos, 3 classes" in shown.out
    assert f"--data.class-names {out.parent}/mine.classes.txt" in shown.out
    assert "3 classes, where kinetics400 has 400" in shown.err
    assert "2 videos missing: id1_000000_000010, id4_000000_000010; all in" in shown.err
    assert "1 videos unreadable: train/id2_000000_000010.mp4: Invalid data" in shown.err
    assert out.read_text() == (
        "path,label,frames,fps,height,width\n"
        "train/b/id0_000000_000010.mp4,b,12,25.0,32,48\n"
        "train/id3_000000_000010.mp4,a,9,25.0,32,48\n"
    )
    assert (out.parent / "mine.missing.txt").read_text().split() == ["id1_000000_000010", "id4_000000_000010"]
    assert "an error page" not in (out.parent / "mine.unreadable.txt").read_text()
    names = out.parent / "mine.classes.txt"
    split = read_split(Data(root=str(kinetics), train=str(out), class_names=str(names)))
    assert split.classes == ("a", "b", "c")
    assert [(sample.label, sample.frames) for sample in split.train] == [(1, 12), (0, 9)]

    # Run again after one video was added: only that one is probed.
    shutil.copy(kinetics / "train/id3_000000_000010.mp4", kinetics / "train/id4_000000_000010.mp4")
    asked = []

    def answer(work, paths, **_):
        asked.extend(path.name for path in paths)
        return [(path, VideoInfo(9, 25.0, 32, 48)) for path in paths]

    monkeypatch.setattr(indexing, "map_files", answer)
    assert run_index(kinetics) == (0, out)
    assert asked == ["id4_000000_000010.mp4"]
    assert "3 of 5 videos" in capsys.readouterr().out


def test_interrupted_index_keeps_its_probes(kinetics, capsys, monkeypatch):
    def stopped(work, paths, **_):
        yield paths[0], VideoInfo(12, 25.0, 32, 48)
        raise KeyboardInterrupt

    monkeypatch.setattr(indexing, "map_files", stopped)
    status, out = run_index(kinetics)
    assert status == 130
    assert "run the same command again to continue" in capsys.readouterr().err
    assert not out.exists()
    assert len((out.parent / "mine.probed.jsonl").read_text().splitlines()) == 1


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Class folders with two bad videos: one empty, one too short."""
    root = make_folders(tmp_path_factory.mktemp("videos") / "my videos", train=2, val=2)
    (root / "train/move_left/0.mp4").write_bytes(b"")
    make(root / "val/move_right/[b].mp4", frames=5)
    return root


def test_check_reports_bad_videos_and_training_omits_them(videos, tmp_path, capsys):
    report, bad = tmp_path / "report.json", tmp_path / "bad.txt"
    command = ["data", "check", str(videos), "--json", str(report), "--quarantine", str(bad)]
    assert main([*command, "--workers", "2"]) == 1
    shown = capsys.readouterr().out
    assert "7 ok, 1 empty, 1 short of 9 videos" in shown
    assert "val/move_right/[b].mp4" in shown
    assert "frames: 5, fewer than 8" in shown
    assert bad.read_text() == "train/move_left/0.mp4\nval/move_right/[b].mp4\n"
    values = json.loads(report.read_text())
    assert (values["videos"], values["checked"]) == (9, 9)
    assert values["counts"] == {"ok": 7, "empty": 1, "short": 1}
    first = values["findings"][0]
    assert (first["path"], first["verdict"], first["frames"]) == (
        f"{videos}/train/move_left/0.mp4",
        "empty",
        None,
    )

    whole, kept = (read_split(Data(root=str(videos), quarantine=name)) for name in ("", str(bad)))
    assert len(whole.train) == len(kept.train) + 1 == 4
    assert len(whole.val) == len(kept.val) + 1 == 5
    assert {s.path for s in (*whole.train, *whole.val)} - {s.path for s in (*kept.train, *kept.val)} == {
        f"{videos}/train/move_left/0.mp4",
        f"{videos}/val/move_right/[b].mp4",
    }
    said = f"{bad}: 1 training and 1 validation videos left out, of 2 that it names"
    assert kept.warnings == (said,)
    assert len(read_test_samples(Data(root=str(videos), quarantine=str(bad)), classes=kept.classes)) == 4


def test_check_reads_list(videos, tmp_path, capsys):
    (tmp_path / "list.csv").write_text("path,label\nmove_left/1.mp4,0\nmove_left/0.mp4,0\nabsent.mp4,1\n")
    bad = tmp_path / "bad.txt"
    command = ["data", "check", str(tmp_path / "list.csv"), "--root", str(videos / "train"), "--workers", "1"]
    assert main([*command, "--quarantine", str(bad)]) == 1
    assert bad.read_text() == "absent.mp4\nmove_left/0.mp4\n"
    assert "no such file or folder" in capsys.readouterr().out


def test_check_of_good_videos_returns_status_0(videos, tmp_path, capsys):
    bad = tmp_path / "bad.txt"
    video = videos / "train/move_left/1.mp4"
    assert main(["data", "check", str(video), "--workers", "1", "--quarantine", str(bad)]) == 0
    assert capsys.readouterr().out == "1 ok of 1 videos\n"
    assert bad.read_text() == ""


def test_interrupted_check_reports_its_findings(videos, tmp_path, capsys, monkeypatch):
    def stopped(paths, **_):
        yield Finding(str(paths[0]), "unreadable", "no frames")
        raise KeyboardInterrupt

    monkeypatch.setattr(inspection, "check_videos", stopped)
    report = tmp_path / "report.json"
    assert main(["data", "check", str(videos), "--json", str(report)]) == 130
    assert "stopped after 1 of 9 videos" in capsys.readouterr().err
    assert json.loads(report.read_text())["counts"] == {"unreadable": 1}


def test_pack_writes_shards_for_training_and_reports_bad_videos(videos, tmp_path, capsys):
    out = tmp_path / "packed"
    assert main(["data", "pack", str(videos), str(out), "--format", "h264", "--workers", "2"]) == 0
    shown = capsys.readouterr()
    assert "train: 3 of 4 videos, 2 classes, 1 shards" in shown.out
    assert "val: 5 of 5 videos" in shown.out
    assert f"tanet train finetune --data.root {out}" in shown.out
    assert "left out: train/move_left/0.mp4: " in shown.err
    split = read_split(Data(root=str(out)))
    assert (len(split.train), len(split.val), split.classes) == (3, 5, ("move_left", "move_right"))


def test_pack_writes_several_lists_into_one_folder(videos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(packing, "map_files", lambda work, paths, **_: ((path, work(path)) for path in paths))
    (tmp_path / "names.txt").write_text("right\nleft\n")
    for split, row in (("train", "move_left/1.mp4,1"), ("val", "move_right/1.mp4,0")):
        (tmp_path / f"{split}.csv").write_text(f"path,label\n{split}/{row}\n")
        command = ["data", "pack", str(tmp_path / f"{split}.csv"), str(tmp_path / "out"), "--split", split]
        command += ["--root", str(videos), "--class-names", str(tmp_path / "names.txt")]
        assert main(command) == 0
    found = read_split(Data(root=str(tmp_path / "out")))
    assert found.classes == ("right", "left")
    assert [(sample.path, sample.label) for sample in (*found.train, *found.val)] == [
        (f"{tmp_path}/out/train/move_left/1.mp4", 1),
        (f"{tmp_path}/out/val/move_right/1.mp4", 0),
    ]


def test_interrupted_pack_keeps_only_full_shards(videos, tmp_path, capsys, monkeypatch):
    def stopped(work, paths, **_):
        yield paths[0], work(paths[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(packing, "map_files", stopped)
    assert main(["data", "pack", str(videos), str(tmp_path / "out")]) == 130
    assert "run the same command again to continue after the last full shard" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_quarantine_keeps_class_without_videos(tmp_path):
    for name in ("train/a/1.mp4", "train/b/1.mp4", "val/b/1.mp4"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    bad = tmp_path / "bad.txt"
    bad.write_text(f"{tmp_path}/train/a/1.mp4\nelsewhere.mp4\n")
    split = read_split(Data(root=str(tmp_path), quarantine=str(bad)))
    assert split.classes == ("a", "b")
    assert [sample.label for sample in split.train] == [1]
    assert "1 training and 0 validation videos left out, of 2 that it names" in split.warnings[0]
    bad.write_text("val/b/1.mp4\n")
    with pytest.raises(ValueError, match=r"bad\.txt: the quarantine list excludes all training videos"):
        read_split(Data(root=str(tmp_path), quarantine=str(bad)))
    with pytest.raises(ValueError, match=r"absent\.txt: cannot be read"):
        read_split(Data(root=str(tmp_path), quarantine="absent.txt"))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["chek"], "unknown command 'data chek': choose from index, check, pack"),
        (["index", "kinetics", "ROOT"], "unknown data set 'kinetics': choose from kinetics400"),
        (["index", "ucf101", "ROOT", "--split", "val"], "ucf101 has no labelled split 'val'"),
        (["index", "hmdb51", "ROOT"], "no *_test_split1.txt"),
        (["index", "jester", "ROOT", "--out", "list.txt"], "list.txt: the list is a CSV file"),
        (["check", "absent"], "absent: no such file or folder"),
        (["check", "ROOT"], "no videos in this folder"),
        (["check", "ROOT", "--root", "ROOT"], "no list is given"),
        (["check", "LIST"], "entry 1 lacks its path or its label"),
        (["check", "ROOT", "--min-frames", "0"], "--min-frames must be positive, not 0"),
        (["pack", "ROOT", "OUT"], "no class folders with videos in it"),
        (["pack", "ROOT", "OUT", "--split", "val"], "--root and --split apply to a list"),
        (["pack", "ROOT", "OUT", "--shard-size", "0"], "--shard-size must be positive, not 0"),
        (["check", "VIDEO", "--workers", "0"], "workers and limit must be positive, not 0 and 10"),
    ],
)
def test_errors_are_one_line_with_status_2(args, message, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.csv").write_text("path,label\n,1\n")
    (tmp_path / "video.mp4").touch()
    known = {"ROOT": tmp_path / "empty", "LIST": tmp_path / "list.csv", "VIDEO": tmp_path / "video.mp4"}
    assert main(["data", *(str(known.get(arg, arg)) for arg in args)]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert message in line
    assert line.startswith("tanet: ")


def test_help_shows_usage(capsys):
    assert main(["data"]) == main(["data", "--help"]) == 0
    assert "tanet data check ROOT|LIST" in capsys.readouterr().out
    for name in ("index", "check", "pack"):
        with pytest.raises(SystemExit) as stop:
            main(["data", name, "--help"])
        assert stop.value.code == 0
        assert f"usage: tanet data {name}" in capsys.readouterr().out


@pytest.fixture(scope="module")
def twelve(tmp_path_factory):
    return make_folders(tmp_path_factory.mktemp("twelve"), train=4, val=2)


def test_pack_estimates_bytes_and_prints_total(twelve, tmp_path, capsys):
    out = tmp_path / "packed"
    assert main(["data", "pack", str(twelve), str(out), "--workers", "1"]) == 0
    shown = capsys.readouterr()
    size = sum(shard.stat().st_size for shard in out.glob("*.tar"))
    assert (
        f"{out}: {size / 1000:.1f} kB written in total, " in shown.out
        or f" {size / 1000:.0f} kB" in shown.out
    )
    (line,) = (line for line in shown.err.splitlines() if "to write" in line)
    estimate = re.fullmatch(r"note: about (\d+(?:\.\d)?) kB to write, .* [GT]B free", line)
    assert estimate
    assert 0.5 < 1000 * float(estimate[1]) / size < 1.5


def test_pack_refuses_disk_that_is_too_small(twelve, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=10**9, free=10**4))
    out = tmp_path / "packed"
    assert main(["data", "pack", str(twelve), str(out), "--workers", "1"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"tanet: {out}: too little room on the disk (about ")
    assert "kB to write, 10.0 kB free): " in line
    assert list(out.iterdir()) == []  # the unfinished shard is removed


def test_pack_counts_only_videos_that_are_still_missing(twelve, tmp_path):
    splits = {"train": [Sample(f"{number}.mp4", 0) for number in range(100)]}
    room = data_pack.RoomCheck(tmp_path, splits)
    for _ in range(50):  # these videos are in complete shards: nothing is written
        assert room.needs_after_video() == ""
    shard, found = tmp_path / ".train.tar", ""
    for number in range(1, data_pack.SAMPLE + 1):
        shard.write_bytes(bytes(1000 * number))
        found = room.needs_after_video()
    assert found.startswith("about 50.0 kB to write, ")
    assert room.needs_after_video() == ""  # told once


@pytest.mark.parametrize(
    ("count", "text"),
    [(512, "0.5 kB"), (123_456, "123 kB"), (3.24e9, "3.2 GB"), (999.7e9, "1.0 TB"), (1.1e12, "1.1 TB")],
)
def test_byte_count_has_two_digits(count, text):
    assert data_pack.byte_count(count) == text

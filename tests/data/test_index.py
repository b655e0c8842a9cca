"""Indexing a data set: find its videos by name, probe each one once, and write a list for training."""

import csv
import json
import os
import shutil

import pytest

from tanet.data.annotations import read_split
from tanet.data.dataset import TrainClips
from tanet.data.tools import index as indexing
from tanet.data.tools.index import Journal, locate_videos, probe_all
from tanet.data.tools.public_datasets import DatasetVideo
from tanet.recipes.recipe import Data
from tanet.video import VideoInfo
from tests.support.fork_server import quick_pool as quick_pool
from tests.support.tiny_videos import make


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    "place", ["", "shaking hands/", "shaking_hands/", "train/Shaking_Hands/", "elsewhere/"]
)
@pytest.mark.parametrize("suffix", [".mp4", ".MKV", "/00001.jpg"])
def test_videos_are_found_in_class_folders_or_flat(tmp_path, place, suffix):
    touch(tmp_path, f"{place}-x_000001_000011{suffix}", f"{place}other.mp4", ".cache/-x_000001_000011.mp4")
    here, away = (
        DatasetVideo("-x_000001_000011", "shaking hands"),
        DatasetVideo("gone_000001_000011", "shaking hands"),
    )
    found = locate_videos(tmp_path, [here, away])
    assert found.paths == {here: f"{place}-x_000001_000011{'' if '/' in suffix else suffix}"}
    assert found.missing == ("gone_000001_000011",)
    assert found.notes == ()


def test_file_in_folder_of_its_class_is_preferred(tmp_path):
    touch(tmp_path, "draw_sword/a.avi", "fencing/a.avi", "x/b.avi", "frames/b/1.jpg", "x/c.txt")
    fencing, drawing, b = (
        DatasetVideo("a", "fencing"),
        DatasetVideo("a", "draw sword"),
        DatasetVideo("b", "run"),
    )
    found = locate_videos(tmp_path, [fencing, drawing])
    assert found.paths == {fencing: "fencing/a.avi", drawing: "draw_sword/a.avi"}
    assert found.notes == ()  # two videos with the same name, as in HMDB-51
    found = locate_videos(tmp_path, [b])
    assert found.paths == {b: "x/b.avi"}
    assert found.notes == ("1 names are found more than once, such as frames/b and x/b.avi; using x/b.avi",)
    with pytest.raises(ValueError, match="holds none of the 1 videos; for example, c is missing"):
        locate_videos(tmp_path, [DatasetVideo("c", "run")])
    with pytest.raises(ValueError, match="no such folder"):
        locate_videos(tmp_path / "absent", [b])


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    make(root / "run, fast/a.mp4", frames=12)
    make(root / "run, fast/b.mp4", frames=9)
    (root / "c.mp4").write_bytes(b"nothing")
    return root


def probe_with_journal(root, journal, paths=("run, fast/a.mp4", "run, fast/b.mp4", "c.mp4")):
    with Journal(journal, root=root) as known:
        return dict(probe_all(root, paths, journal=known, workers=1, limit=60))


def test_journal_avoids_probing_again(videos, tmp_path, monkeypatch):
    root, journal = tmp_path / "videos", tmp_path / "list.probed.jsonl"
    shutil.copytree(videos, root)
    # Stop after the first answer, and leave a half-written second line as after a power cut.
    with Journal(journal, root=root) as known:
        answers = probe_all(root, ["run, fast/a.mp4", "c.mp4"], journal=known, workers=1, limit=60)
        first = next(answers)
        answers.close()
    journal.write_text(journal.read_text() + '{"path": "run, fa')
    found = probe_with_journal(root, journal)
    assert [first] == [item for item in found.items() if item[0] == first[0]]
    assert found["run, fast/a.mp4"] == VideoInfo(12, 25.0, 32, 48)
    assert found["run, fast/b.mp4"] == VideoInfo(9, 25.0, 32, 48)
    assert found["c.mp4"] == "Invalid data found when processing input"

    asked = []
    monkeypatch.setattr(indexing, "map_files", lambda work, paths, **_: asked.extend(paths) or ())
    assert probe_with_journal(root, journal) == found
    assert asked == []
    make(root / "c.mp4", frames=10)  # the file is replaced, so its journal entry is outdated
    os.utime(root / "run, fast/b.mp4", ns=(0, 0))
    assert list(probe_with_journal(root, journal)) == ["run, fast/a.mp4"]
    assert asked == [root / "run, fast/b.mp4", root / "c.mp4"]


def test_written_list_gives_same_training_clips(videos, tmp_path):
    entries = [DatasetVideo("b", "run, fast"), DatasetVideo("c", "run, fast"), DatasetVideo("a", "run, fast")]
    found = locate_videos(videos, entries)
    infos = {"run, fast/a.mp4": VideoInfo(12, 25.0, 32, 48), "run, fast/b.mp4": VideoInfo(9, None, 32, 48)}
    text = indexing.as_csv(found, infos)
    assert list(csv.reader(text.splitlines())) == [
        ["path", "label", "frames", "fps", "height", "width"],
        ["run, fast/b.mp4", "run, fast", "9", "", "32", "48"],
        ["run, fast/a.mp4", "run, fast", "12", "25.0", "32", "48"],
    ]
    (tmp_path / "list.csv").write_text(text)
    data = Data(root=str(videos), train=str(tmp_path / "list.csv"), resize=0, size=32)
    listed = read_split(data)
    assert [sample.frames for sample in listed.train] == [9, 12]
    assert listed.classes == ("run, fast",)
    # The list states the true number of frames, so sampling gives the same clips as without it.
    rows = "".join(f'"run, fast/{name}.mp4","run, fast"\n' for name in "ba")
    (tmp_path / "plain.csv").write_text(f"path,label\n{rows}")
    plain = read_split(Data(root=str(videos), train=str(tmp_path / "plain.csv")))
    for one, other in zip(listed.train, plain.train, strict=True):
        view, same = (
            TrainClips([sample], data, frames=4, classes=listed.classes)[0] for sample in (one, other)
        )
        assert isinstance(view, tuple)
        assert isinstance(same, tuple)
        assert view[0].equal(same[0])


def test_journal_is_written_as_json_lines(videos, tmp_path):
    with Journal(tmp_path / "new" / "j.jsonl", root=videos) as known:
        known.add("c.mp4", "no video stream")
        row = json.loads((tmp_path / "new" / "j.jsonl").read_text())  # written before the journal is closed
    assert (row["path"], row["cause"]) == ("c.mp4", "no video stream")

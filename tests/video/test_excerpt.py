"""A part of a video is a video: its frames, times and errors; lists name parts, training takes them."""

import json

import numpy as np
import pytest
import torch

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.cli import main
from tanet.data.annotations import read_split
from tanet.data.dataset import EvalClips
from tanet.errors import UserError
from tanet.inference.timeline import timeline
from tanet.inference.video_names import name_of, names_of
from tanet.inference.windows import Span
from tanet.models.factory import build
from tanet.recipes.recipe import Data
from tanet.video import VideoError, open_video
from tanet.video.excerpt import Part, split_part
from tests.cli.test_main import TINY_FLAGS
from tests.support.tiny_videos import TINY, make


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two videos of 48 frames at 25 frames per second."""
    folder = tmp_path_factory.mktemp("long")
    for number in range(2):
        make(folder / f"v_{number}.mp4", frames=48, seed=number)
    return folder


@pytest.mark.parametrize(
    ("fragment", "first", "count"),
    [
        ("#t=0.4,1.2", 10, 20),
        ("#t=1.2", 30, 18),
        ("#t=,0.4", 0, 10),
        ("#t=0:01.2,0:00:09", 30, 18),
        ("#t=0.41,0.42", 10, 1),
        ("#frames=5,9", 5, 4),
        ("#frames=40,90", 40, 8),
    ],
)
def test_part_has_the_frames_of_its_times(folder, fragment, first, count):
    with open_video(folder / "v_0.mp4") as whole, open_video(f"{folder / 'v_0.mp4'}{fragment}") as part:
        assert (part.first, part.frames) == (first, count)
        assert part.info.frames == count
        assert torch.equal(part.read([0, count - 1]), whole.read([first, first + count - 1]))
        numbers = [number for number, _ in part.iterate(np.arange(count))]
        assert numbers == list(range(count))
        assert part.times() == pytest.approx(np.arange(count) / 25)


def test_part_outside_the_video_is_refused(folder):
    for fragment, message in (
        ("#t=3,4", "no time 3 s in a video of 1.9 s"),
        ("#frames=48,50", "no frame 48 in"),
    ):
        with pytest.raises(VideoError, match=message):
            open_video(f"{folder / 'v_0.mp4'}{fragment}")
    with pytest.raises(VideoError, match="no such file or folder"):
        open_video(f"{folder / 'absent.mp4'}#t=1,2")


def test_existing_file_with_such_a_name_is_no_part(folder):
    named = folder.parent / "odd#t=1,2"
    named.write_bytes((folder / "v_0.mp4").read_bytes())
    assert split_part(named) == (named, None)
    assert split_part(f"{folder}/x.mp4#t=1.5,2")[1] == Part(1.5, 2.0)
    for wrong in ("#t=1:x", "#t=", "#t=-1,2", "#T=nan,2", "#frames=3.7,9", "#frames=0:10,20", "#t=1e3"):
        with pytest.raises(VideoError, match="not a part of a video: write #t=START,END"):
            split_part(f"x.mp4{wrong}")
    for empty in ("#t=5,3", "#t=5,5", "#frames=9,3"):
        with pytest.raises(VideoError, match="must come after the start"):
            open_video(f"{folder}/v_0.mp4{empty}")


def test_times_of_results_are_those_of_the_whole_video(folder):
    model = Checkpoint(build(TINY.model, classes=2).eval(), TINY, ("a", "b"))
    with open_video(f"{folder}/v_0.mp4#t=0.4,9") as video:
        found = timeline(video, model, window=Span(8))
        assert (found.segments[0].start, found.segments[-1].end) == pytest.approx((0.4, 1.92))
        assert found.note == "the part ends at 9 s, but the video at 1.9 s"
    assert name_of(f"{folder}/v_0.mp4#t=0.4,9") == "v_0#t=0.4,9"
    with pytest.raises(UserError, match="have the same name 0: rename one"):
        names_of(["a/0.mp4", "b/0.avi"])


def test_list_with_start_and_end(folder, tmp_path):
    (tmp_path / "train.csv").write_text(
        "path,start,end,label\nv_0.mp4,0.4,1.2,a\nv_0.mp4,0:01.2,,b\nv_1.mp4,,,b\n"
    )
    (tmp_path / "val.csv").write_text("path,start_frame,stop_frame,label\nv_0.mp4,5,9,a\n")
    data = Data(root=str(folder), train=str(tmp_path / "train.csv"), val=str(tmp_path / "val.csv"))
    split = read_split(data)
    names = [sample.path.rpartition("/")[2] for sample in (*split.train, *split.val)]
    assert names == ["v_0.mp4#t=0.4,1.2", "v_0.mp4#t=1.2", "v_1.mp4", "v_0.mp4#frames=5,9"]
    assert "1 videos are in the training set and in the validation set" in split.warnings[0]
    assert not any("two labels" in note for note in split.warnings)
    views, label, _ = EvalClips(split.train, TINY.data, TINY.eval, frames=4)[1]
    assert label == 1
    with open_video(folder / "v_0.mp4") as video:
        assert views.shape == (1, 4, 3, 32, 32)
        assert video.frames == 48
    (tmp_path / "bad.csv").write_text("path,start,end,label\nv_0.mp4,2,1,a\n")
    with pytest.raises(UserError, match="the end, 1, must come after the start, 2"):
        read_split(Data(root=str(folder), train=str(tmp_path / "bad.csv")))


def test_annotations_of_activitynet_and_ava(folder, tmp_path):
    annotations = [{"segment": [0.4, 1.2], "label": "a"}, {"segment": [1.2, 1.9], "label": "b"}]
    database = {
        "0": {"subset": "training", "annotations": annotations},
        "v_1": {"subset": "validation", "annotations": annotations[:1]},
        "gone": {"subset": "training", "annotations": annotations},
    }
    (path := tmp_path / "anet.json").write_text(json.dumps({"database": database}))
    split = read_split(Data(root=str(folder), train=str(path), val=str(path)))
    assert [(sample.path[-17:], sample.label) for sample in split.train] == [
        ("v_0.mp4#t=0.4,1.2", 0),
        ("v_0.mp4#t=1.2,1.9", 1),
    ]
    assert len(split.val) == 1
    assert f"{path}: 1 videos are not below {folder}: gone" in split.warnings
    (path := tmp_path / "ava.csv").write_text(
        "v_0,1.5,0.1,0.1,0.9,0.9,1,0\nv_0,1.5,0.1,0.1,0.9,0.9,2,0\nv_0,1.5,0.3,0.1,0.9,0.9,2,1\nv_1,1,,,,,\n"
    )
    split = read_split(Data(root=str(folder), train=str(path)))
    assert [(sample.path[-13:], sample.label) for sample in split.train] == [
        ("v_0.mp4#t=0,3", 0),
        ("v_0.mp4#t=0,3", 1),
    ]
    for line, message in (
        ("v_0,1,,,,,0,0", "line 1: expected NAME,second,x1,y1,x2,y2,class, with classes from 1"),
        ("v_0,inf,,,,,1,0", "line 1: expected"),
        ("v_1,1,,,,,,", "holds no annotations"),
    ):
        path.write_text(f"{line}\n")
        with pytest.raises(UserError, match=message):
            read_split(Data(root=str(folder), train=str(path)))
    with pytest.raises(UserError, match=r"none of its 2 videos is below .*: set --data.root"):
        read_split(Data(root=str(tmp_path), train=str(tmp_path / "anet.json")))


def test_train_and_predict_take_parts(folder, tmp_path, capsys):
    (tmp_path / "list.csv").write_text(
        "path,start,end,label\n"
        + "".join(f"v_{n}.mp4,{t},{t + 0.4},{'ab'[n]}\n" for n in (0, 1) for t in (0, 1))
    )
    words = ["--data.root", str(folder), "--out", str(tmp_path / "run"), *TINY_FLAGS]
    words += [f"--data.{part}={tmp_path / 'list.csv'}" for part in ("train", "val")]
    assert main(["train", "finetune", *words]) == 0
    assert main(["predict", str(tmp_path / "run"), f"{folder}/v_0.mp4#t=0.4,1", "--device", "cpu"]) == 0
    assert "v_0.mp4#t=0.4,1  " in capsys.readouterr().out

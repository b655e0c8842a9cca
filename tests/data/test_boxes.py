"""Boxes of regions come from a file, and follow the frames through crops, resizing and mirrors."""

import json

import numpy as np
import pytest
import torch

from tanet import synthetic
from tanet.cli import main
from tanet.data.box_file import BoxFile, read_boxes
from tanet.data.boxes import boxes_of_frames, crop_boxes
from tanet.data.dataset import EvalClips, TrainClips
from tanet.data.samples import Sample
from tanet.data.transforms import Box
from tanet.errors import UserError
from tanet.recipes.recipe import Data, Eval
from tests.support.tiny_videos import make_folders

WHITE = (20, 12, 44, 30)
"""A white rectangle, x1, y1, x2, y2, in frames of 64 × 48 pixels."""


@pytest.fixture
def video(tmp_path):
    """Write a video of 8 frames with a white rectangle, and a file with its box; return both paths."""
    frames = np.zeros((8, 48, 64, 3), dtype=np.uint8)
    x1, y1, x2, y2 = WHITE
    frames[:, y1:y2, x1:x2] = 255
    path = tmp_path / "videos" / "jump" / "1.mp4"
    path.parent.mkdir(parents=True)
    synthetic.write_video(path, frames)
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"jump/1.mp4": {"frames": {"3": [list(WHITE)]}}}))
    return path, boxes


def extent(view):
    """Return x1, y1, x2, y2 of what is bright in a view [3, S, S], as fractions of its side."""
    bright = view.float().mean(0) > 127
    rows, columns = bright.any(1).nonzero().flatten(), bright.any(0).nonzero().flatten()
    return torch.stack((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)) / view.shape[-1]


def test_boxes_of_training_views_enclose_what_they_enclosed(video):
    path, boxes = video
    data = Data(resize=0, size=40, boxes=str(boxes), flip="plain", scales=(1.0, 0.75))
    clips = TrainClips([Sample(str(path), 0)], data, frames=4, classes=("a",))
    for epoch in range(12):
        views, label, found = clips[epoch]
        assert label == 0
        assert found.shape == (2, 1, 4)  # every second frame
        torch.testing.assert_close(found[0, 0], extent(views[0]), atol=0.06, rtol=0)


@pytest.mark.parametrize("crops", [1, 3, 6, 10])
def test_boxes_of_test_views_enclose_what_they_enclosed(crops, video):
    path, boxes = video
    size = 40 if crops == 6 else 36
    eval = Eval(clips=2, crops=crops, resize=40, size=size)
    clips = EvalClips([Sample(str(path), 0)], Data(boxes=str(boxes)), eval, frames=4)
    views, _, found = clips[0]
    assert found.shape == (2 * crops, 2, 1, 4)
    for view, box in zip(views, found, strict=True):
        torch.testing.assert_close(box[0, 0], extent(view[0]), atol=0.06, rtol=0)


def test_frames_get_the_boxes_of_the_nearest_frame():
    frames = {"2": [[0, 0, 10, 10], [5, 5, 10, 20]], "9": [[10, 0, 20, 20]]}
    file = BoxFile("boxes.json", {"a": {"size": [20, 40], "frames": frames}})
    found = boxes_of_frames(file.find("x/a.mp4"), np.array([[0, 1, 5, 6, 8]]), height=1, width=1, most=2)
    assert found.tolist() == [
        [
            [[0, 0, 0.5, 0.25], [0.25, 0.125, 0.5, 0.5]],
            [[0, 0, 0.5, 0.25], [0.25, 0.125, 0.5, 0.5]],
            [[0.5, 0, 1, 0.5], [0, 0, 0, 0]],
        ]
    ]
    assert boxes_of_frames(None, np.array([[0, 1]]), height=1, width=1, most=2).sum() == 0


def test_annotations_of_something_else_are_read():
    frame = {"name": "1234/0003.jpg", "labels": [{"box2d": {"x1": 1, "y1": 2, "x2": 3, "y2": 4}}]}
    file = BoxFile("else.json", {"1234": [{"name": "1234/0001.jpg", "labels": []}, frame]})
    found = file.find("videos/1234.webm")
    assert found.frames.tolist() == [2]
    assert found.at(np.array([0]), height=10, width=10)[0, 0].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_crops_cut_boxes_off_and_mirror_them():
    box = torch.tensor([0.5, 0.0, 1.0, 0.5])
    crop = Box(top=0, left=2, height=4, width=4)
    assert crop_boxes(box, height=8, width=8, box=crop).tolist() == [0.5, 0, 1, 1]
    assert crop_boxes(box, height=8, width=8, box=crop, mirrored=True).tolist() == [0, 0, 0.5, 1]
    outside = crop_boxes(torch.tensor([0.8, 0.8, 0.9, 0.9]), height=8, width=8, box=crop)
    assert outside[0] == outside[2]  # no area


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("{", "not a file of boxes in JSON"),
        ("[]", "has an entry for each video"),
        ('{"a": {"frames": {}}}', "there are no boxes in this file"),
        ('{"a": 3}', "a: not an entry of the form"),
        ('{"a": {"frames": {"one": [[1, 2, 3, 4]]}}}', "a: not an entry of the form"),
        ('{"a": {"frames": null}}', "a: not an entry of the form"),
        ('{"a": [{"name": "a/x.jpg", "labels": [{}]}]}', "a: not an entry of the form"),
        (
            '{"a": {"frames": {"0": [[1, 2, 3]]}}}',
            r"frame 0: boxes are four numbers each, not \[1, 2, 3\]",
        ),
        ('{"a": {"frames": {"0": [[1, 2, 3, 4, 5, 6, 7, 8]]}}}', "frame 0: boxes are four numbers each"),
        ('{"a": {"frames": {"0": [1, 2, 3, 4]}}}', "frame 0: boxes are four numbers each"),
        ('{"a": {"frames": {"0": [[1, 2, "3", 4]]}}}', "frame 0: boxes are four numbers each"),
        ('{"a": {"frames": {"0": [[NaN, 1, 2, 3]]}}}', "frame 0: boxes must be finite numbers"),
        ('{"a": {"frames": {"0": [[1, 2, Infinity, 3]]}}}', "frame 0: boxes must be finite numbers"),
        ('{"a": {"frames": {"0": [[5, 2, 1, 3]]}}}', "x1 ≤ x2"),
        ('{"a": {"frames": {"-5": [[1, 2, 3, 4]]}}}', "-5 is not a frame"),
        ('{"a": {"size": [0, 9], "frames": {"0": [[1, 2, 3, 4]]}}}', "size is 0 × 9"),
        ('{"a": {"size": [1e999, 9], "frames": {"0": [[1, 2, 3, 4]]}}}', "size is inf × 9"),
        ('{"a": {"size": "320x240", "frames": {"0": [[1, 2, 3, 4]]}}}', "a: not an entry of the form"),
        ('{"a": {"size": "12", "frames": {"0": [[1, 2, 3, 4]]}}}', "a: not an entry of the form"),
        ("[" * 100_000, "not a file of boxes in JSON"),
    ],
)
def test_files_that_hold_no_boxes_are_told(content, cause, tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text(content)
    with pytest.raises(UserError, match=cause):
        read_boxes(str(path))
    with pytest.raises(UserError, match=r"there is no such file of boxes: give --data\.boxes FILE"):
        read_boxes(str(tmp_path / "none.json"))


def test_graph_of_given_regions_is_trained_tested_and_predicts(tmp_path, capsys):
    videos = make_folders(tmp_path / "videos", train=2, val=1)
    boxes = tmp_path / "boxes.json"
    content = {
        f"{split}/{verb}/{number}.mp4": {
            "frames": {"0": [[4, 4, 20, 20]], "6": [[8, 4, 24, 20], [0, 0, 9, 9]]}
        }
        for split in ("train", "val")
        for verb in ("move_left", "move_right")
        for number in range(2)
    }
    boxes.write_text(json.dumps(content))
    out = tmp_path / "run"
    given = ["--data.boxes", str(boxes), "--model.boxes", "given"]
    small = ["--model.width", "8", "--model.features", "8", "--model.frames", "4", "--data.window", "8"]
    sizes = ["--data.size", "32", "--data.resize", "32", "--eval.size", "32", "--eval.resize", "32"]
    run = ["--optim.epochs", "1", "--optim.batch", "2", "--data.workers", "0", "--device", "cpu"]
    train = ["train", "nl-i3d-gcn", "--data.root", str(videos), *small, *sizes, *run, "--out", str(out)]
    assert main([*train, *given]) == 0
    best = str(out / "best.safetensors")
    assert main(["test", best, "--device", "cpu"]) == 0
    jump = str(videos / "val" / "move_left" / "0.mp4")
    assert main(["predict", best, jump, "--device", "cpu"]) == 0
    capsys.readouterr()
    # Other boxes give another answer; a file for other videos, or none, is told in one line.
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"elsewhere.mp4": {"frames": {"0": [[0, 0, 1, 1]]}}}))
    assert main(["test", best, "--device", "cpu", "--data.boxes", str(other)]) == 2
    assert "boxes for none of the 2 videos; it names videos such as elsewhere.mp4" in capsys.readouterr().err
    assert main(["test", best, "--device", "cpu", "--data.boxes", ""]) == 2
    assert "this network looks at given regions, and there are none" in capsys.readouterr().err
    assert main(["predict", best, jump, "--device", "cpu", "--boxes", "none.json"]) == 2
    assert "there is no such file of boxes" in capsys.readouterr().err
    assert main(["train", "finetune", "--data.root", str(videos), "--data.boxes", str(boxes)]) == 2
    assert "give --model.boxes given with nl-i3d-gcn" in capsys.readouterr().err

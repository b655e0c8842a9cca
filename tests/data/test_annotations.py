"""Reading videos and labels from folders and lists, and the errors for invalid ones."""

import pytest

from tanet.data.annotations import read_split, read_test_samples
from tanet.data.find_videos import find_videos
from tanet.errors import UserError
from tanet.recipes.recipe import Data
from tanet.runtime.events import Note


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def paths_and_labels(samples, root):
    return [(str(s.path).removeprefix(f"{root}/"), s.label) for s in samples]


def test_train_and_val_folders_are_read(tmp_path):
    touch(
        tmp_path,
        "train/run/b.mp4",
        "train/run/a.AVI",
        "train/jump/c.webm",
        "val/jump/d.mp4",
        "train/run/notes.txt",
    )
    split = read_split(Data(root=str(tmp_path)))
    assert split.classes == ("jump", "run")
    assert paths_and_labels(split.train, tmp_path) == [
        ("train/jump/c.webm", 0),
        ("train/run/a.AVI", 1),
        ("train/run/b.mp4", 1),
    ]
    assert paths_and_labels(split.val, tmp_path) == [("val/jump/d.mp4", 0)]
    assert not split.warnings


def test_folders_of_images_are_videos(tmp_path):
    touch(
        tmp_path, "train/run/one/img_1.jpg", "train/run/one/img_2.jpg", "train/run/two/1.png", "val/run/x.mp4"
    )
    split = read_split(Data(root=str(tmp_path)))
    assert paths_and_labels(split.train, tmp_path) == [("train/run/one", 0), ("train/run/two", 0)]


def test_single_folder_is_split_per_class_by_seed_with_warning(tmp_path):
    touch(tmp_path, *(f"{name}/{i}.mp4" for name in ("a", "b") for i in range(10)), "c/only.mp4")
    data = Data(root=str(tmp_path), val_fraction=0.3)
    split = read_split(data, seed=1)
    assert [sum(s.label == label for s in split.val) for label in range(3)] == [3, 3, 0]
    assert not {s.path for s in split.train} & {s.path for s in split.val}
    assert len(split.train) + len(split.val) == 21
    assert "recording" in split.warnings[0]
    assert read_split(data, seed=1) == split
    assert read_split(data, seed=2).val != split.val
    touch(tmp_path, "a/late.mp4")
    before, after = ({s.path for s in each.val} for each in (split, read_split(data, seed=1)))
    assert len(before - after) <= 1  # an added video moves at most one video between the splits


@pytest.mark.parametrize("file", ["runs/finetune/recipe.json", "runs/finetune/.lock"])
def test_trainings_beside_the_classes_are_no_class(file, tmp_path):
    """`tanet train` creates runs/ in the current folder, which may be the folder of the videos."""
    touch(
        tmp_path, "jump/a.mp4", "jump/b.mp4", "run/a.mp4", "run/b.mp4", file, "runs/finetune/best.safetensors"
    )
    split = read_split(Data(root=str(tmp_path)))
    assert split.classes == ("jump", "run")
    assert any("runs: left out, because it holds trainings" in note for note in split.warnings)


def test_lists_are_read(tmp_path):
    touch(tmp_path, "a b.mp4", "c.mp4", "d.mp4")
    (tmp_path / "train.txt").write_text("a b.mp4 1\nc.mp4 12 0\n\n")
    (tmp_path / "val.csv").write_text("path,label,frames\nd.mp4,1,\na b.mp4,0,7\n")
    data = Data(train=str(tmp_path / "train.txt"), val=str(tmp_path / "val.csv"))
    split = read_split(data)
    assert split.classes == ("0", "1")
    assert [(s.label, s.frames) for s in split.train] == [(1, None), (0, 12)]
    assert [(s.label, s.frames) for s in split.val] == [(1, None), (0, 7)]


def test_lists_with_class_names_as_labels_are_read(tmp_path):
    touch(tmp_path, "v/a.mp4", "v/b.mp4")
    (tmp_path / "train.csv").write_text('path,label\na.mp4,"Pushing something, left"\nb.mp4,Waiting\n')
    data = Data(root=str(tmp_path / "v"), train=str(tmp_path / "train.csv"))
    assert read_split(data).classes == ("Pushing something, left", "Waiting")
    (tmp_path / "names.txt").write_text("Waiting\nJumping\nPushing something, left\n")
    named = Data(root=data.root, train=data.train, class_names=str(tmp_path / "names.txt"))
    assert [s.label for s in read_split(named).train] == [2, 0]


def test_numeric_class_names_are_matched_by_name(tmp_path):
    touch(tmp_path, *(f"{name}.mp4" for name in "abc"))
    (tmp_path / "val.txt").write_text("a.mp4 0\nb.mp4 01\nc.mp4 2\n")
    data = Data(val=str(tmp_path / "val.txt"))
    for classes in (("jump", "run", "walk"), ("0", "1", "2")):
        assert [s.label for s in read_test_samples(data, classes=classes)] == [0, 1, 2]
    with pytest.raises(ValueError, match=r"a.mp4: class '0' is not one of the 3 known classes: 1, 2, 3"):
        read_test_samples(data, classes=("1", "2", "3"))
    (tmp_path / "val.txt").write_text("a.mp4 1\nb.mp4 2\nc.mp4 3\n")
    assert [s.label for s in read_test_samples(data, classes=("1", "2", "3"))] == [0, 1, 2]


def test_classes_of_checkpoint_are_matched_by_name(tmp_path):
    touch(tmp_path, "val/run/a.mp4")
    split = read_split(Data(root=str(tmp_path)), classes=("jump", "run", "walk"))
    assert [s.label for s in split.val] == [1]
    with pytest.raises(ValueError, match=r"class 'run' is not one of the 2 known classes: jump, walk"):
        read_split(Data(root=str(tmp_path)), classes=("jump", "walk"))


@pytest.mark.parametrize(
    ("files", "data", "message"),
    [
        ([], {"root": "nowhere"}, "nowhere: no such folder"),
        ([], {}, "no videos given"),
        (["run/notes.txt"], {"root": "."}, "run: this class folder holds no videos"),
        (["a.mp4"], {"root": "."}, "no class folders, only 1 videos; .* set --data.root .* is a class"),
        (["a.xyz"], {"root": "."}, "no class folders with videos in it"),
        (["l.txt:a.mp4 0"], {"train": "l.txt"}, "entry 1: no such video"),
        (["l.txt:a.mp4"], {"train": "l.txt"}, "expected `path label`"),
        (["l.txt:"], {"train": "l.txt"}, "the list is empty"),
        (["l.csv:video,split\na,b"], {"train": "l.csv"}, "names no column label"),
        (["l.csv:a,b,c,d\na,b"], {"train": "l.csv"}, "must name the columns path, label"),
        (["file"], {"root": "file"}, "file: not a folder"),
        (["a.mp4", "l.csv:path,label\na.mp4"], {"train": "l.csv"}, "entry 1 lacks its path or its label"),
        (["a.mp4", "b.mp4", "l.txt:a.mp4 1\nb.mp4 2"], {"train": "l.txt"}, "from 0 without gaps"),
        (["a.mp4", "l.txt:a.mp4 0 0"], {"train": "l.txt"}, "must be a positive integer, not '0'"),
        ([], {"train": "l.txt"}, "l.txt: cannot be read"),
    ],
)
def test_invalid_data_is_rejected_with_cause(tmp_path, monkeypatch, files, data, message):
    monkeypatch.chdir(tmp_path)
    for file in files:
        name, _, text = file.partition(":")
        touch(tmp_path, name)
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_split(Data(**data))


def test_find_videos_searches_subfolders(tmp_path):
    touch(tmp_path, "b.mp4", "x/a.mov", "x/frames/1.jpg", "notes.txt", "cover.jpg", "._b.mp4", ".cache/c.mp4")
    names = [str(path.relative_to(tmp_path)) for path in find_videos(tmp_path)]
    assert names == ["b.mp4", "x/a.mov", "x/frames"]


def test_test_samples_are_all_videos_or_the_validation_split(tmp_path):
    touch(tmp_path, *(f"{name}/{i}.mp4" for name in ("a", "b") for i in range(10)))
    data = Data(root=str(tmp_path), val_fraction=0.2)
    assert len(read_test_samples(data, classes=("a", "b"))) == 20
    assert read_test_samples(data, classes=("a", "b"), seed=3) == read_split(data, seed=3).val
    touch(tmp_path, "val/a/0.mp4")
    assert len(read_test_samples(data, classes=("a", "b"))) == 1


def test_test_samples_report_quarantined_videos(tmp_path):
    touch(tmp_path, *(f"val/{name}/{i}.mp4" for name in ("a", "b") for i in range(3)))
    (tmp_path / "bad.txt").write_text("val/a/1.mp4\nval/b/2.mp4\nsomewhere/else.mp4\n")
    told = []
    data = Data(root=str(tmp_path), quarantine=str(tmp_path / "bad.txt"))
    assert len(read_test_samples(data, classes=("a", "b"), on_event=told.append)) == 4
    assert told == [Note(f"{tmp_path}/bad.txt: 2 videos left out, of 3 that it names")]
    read_test_samples(Data(root=str(tmp_path)), classes=("a", "b"), on_event=told.append)
    assert len(told) == 1
    read_test_samples(Data(root=str(tmp_path / "val")), classes=("a", "b"), on_event=told.append)
    assert told[1].text.startswith(f"{tmp_path}/val has no val/ folder: all of its videos are tested")


def test_test_samples_come_from_train_if_there_is_no_val(tmp_path):
    touch(tmp_path, "train/a/1.mp4", "train/b/1.mp4")
    assert len(read_test_samples(Data(root=str(tmp_path)), classes=("a", "b"))) == 2


def test_class_without_training_video_gives_warning(tmp_path):
    touch(tmp_path, "train/a/1.mp4", "train/b/1.mp4", "val/a/1.mp4", "val/c/1.mp4")
    assert read_split(Data(root=str(tmp_path))).warnings == ("no training video shows c",)


def test_duplicate_or_missing_class_names_are_rejected(tmp_path):
    touch(tmp_path, "a/1.mp4", "b/1.mp4")
    names = tmp_path / "names.txt"
    names.write_text("a\nb\na\n")
    with pytest.raises(UserError, match=r"names\.txt: contains a class name twice \(a\); make"):
        read_split(Data(root=str(tmp_path), class_names=str(names)))
    names.write_text("\n")
    with pytest.raises(UserError, match=r"names\.txt: holds no class names$"):
        read_split(Data(root=str(tmp_path), class_names=str(names)))

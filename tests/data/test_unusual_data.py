"""Folders and lists as people have them: other names, links, separators, headers, odd labels, overlaps."""

import os
import re
import shutil
from pathlib import Path

import pytest

from tanet.data.annotations import read_split, read_test_samples
from tanet.data.find_videos import VIDEO_SUFFIXES, find_videos
from tanet.errors import UserError
from tanet.recipes.recipe import Data


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def labels_by_name(samples):
    return {Path(sample.path).name: sample.label for sample in samples}


# Folders


@pytest.mark.parametrize(
    ("train", "val"),
    [
        *(
            ("Train", "Val"),
            ("TRAIN", "VAL"),
            ("training", "validation"),
            ("train", "valid"),
            ("train", "dev"),
        ),
        *(("train", "test"), ("Training", "Testing"), ("Training", "Test"), ("train", "Validation")),
        ("Train_", "Val_"),
    ],
)
def test_usual_names_of_sets_are_understood(train, val, tmp_path):
    touch(tmp_path, *(f"{part}/{name}/{i}.mp4" for part in (train, val) for name in "ab" for i in range(3)))
    split = read_split(Data(root=str(tmp_path)))
    if train == "Train_":  # not a usual name: these are classes
        assert split.classes == (train, val)
        return
    assert (split.classes, len(split.train), len(split.val)) == (("a", "b"), 6, 6)
    told = f"there is no val/ folder, so {val}/ is used for validation" in "; ".join(split.warnings)
    assert told == val.lower().startswith("test")


def test_folders_beside_the_sets_are_told(tmp_path):
    touch(tmp_path, *(f"{part}/a/0.mp4" for part in ("train", "val", "test", "extra")))
    split = read_split(Data(root=str(tmp_path)))
    assert split.warnings == (f"{tmp_path}: extra/, test/ left out: the sets are train/ and val/",)


def test_two_folders_for_one_set_are_rejected(tmp_path):
    touch(tmp_path, "train/a/0.mp4", "val/a/0.mp4", "valid/a/0.mp4")
    with pytest.raises(UserError, match="val/ and valid/ could both be the val set"):
        read_split(Data(root=str(tmp_path)))


@pytest.mark.parametrize(
    "suffix",
    [*("asf", "vob", "divx", "mxf", "f4v", "m2v", "mpv", "h264", "dav", "mod", "qt"), "MP4", "hevc", "y4m"],
)
def test_less_common_suffixes_are_videos(suffix, tmp_path):
    touch(tmp_path, f"left/b.{suffix}")
    assert find_videos(tmp_path) == [tmp_path / "left" / f"b.{suffix}"]
    assert f".{suffix.lower()}" in VIDEO_SUFFIXES


def test_files_of_other_kinds_are_counted(tmp_path):
    touch(tmp_path, *(f"{name}/{i}.mp4" for name in ("a", "b") for i in range(3)))
    touch(
        tmp_path,
        "a/x.xyz",
        "a/y.XYZ",
        "a/sub/z.webp",
        "a/sub/z.mp4",
        "b/notes.txt",
        "b/._0.mp4",
        "b/Thumbs.db",
    )
    split = read_split(Data(root=str(tmp_path), val_fraction=0.0))
    assert len(split.train) == 7
    assert split.warnings == (
        f"{tmp_path}: files left out because their suffix is not a video's: 2 .xyz, 1 .webp",
    )


def test_links_to_a_folder_above_are_not_followed(tmp_path):
    touch(tmp_path, *(f"data/{name}/{i}.mp4" for name in ("left", "right") for i in range(3)))
    root = tmp_path / "data"
    (root / "left" / "all").symlink_to("..")
    (root / "left" / "more").mkdir()
    (root / "left" / "more" / "up").symlink_to(root / "left")
    split = read_split(Data(root=str(root)))
    assert len(split.train) + len(split.val) == 6
    assert sum("links to a folder above it" in note for note in split.warnings) == 2
    assert len(find_videos(root)) == 6


def test_links_to_other_folders_are_followed_and_double_labels_told(tmp_path):
    touch(tmp_path, *(f"data/{name}/{i}.mp4" for name in ("left", "right") for i in range(3)), "more/9.mp4")
    (tmp_path / "data" / "right" / "more").symlink_to(tmp_path / "more")
    (tmp_path / "data" / "left" / "again").symlink_to(tmp_path / "data" / "right")
    split = read_split(Data(root=str(tmp_path / "data"), val_fraction=0.0))
    assert len(split.train) == 11
    assert "4 videos have two labels" in "; ".join(split.warnings)


@pytest.mark.parametrize("deep", ["train/a", "train"])
def test_root_inside_a_class_is_explained(deep, tmp_path):
    touch(tmp_path, *(f"train/{name}/{i}.mp4" for name in "ab" for i in range(3)))
    data = Data(root=str(tmp_path / deep))
    if deep == "train":
        assert read_split(data).classes == ("a", "b")
        return
    with pytest.raises(UserError, match=f"only 3 videos; .*set --data.root {tmp_path}/train if a is a class"):
        read_split(data)


# Lists


def read(tmp_path, text, *, name="list.txt"):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_split(Data(train=str(tmp_path / name)))


ENTRIES = {"a.mp4": 0, "b.mp4": 0, "c.mp4": 1}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.csv", "path,label\na.mp4, jump\nb.mp4,jump\nc.mp4, run\n"),
        ("list.csv", "a.mp4,jump\nb.mp4,jump\nc.mp4,run\n"),
        ("list.csv", "a.mp4 jump\nb.mp4 jump\nc.mp4 run\n"),
        ("list.csv", "a.mp4;jump\nb.mp4;jump\nc.mp4;run\n"),
        ("list.csv", "a.mp4\tjump\nb.mp4\tjump\nc.mp4\trun\n"),
        ("list.csv", "label;path\njump;a.mp4\njump;b.mp4\nrun;c.mp4\n"),
        ("list.csv", "Path , Label , Split\na.mp4,jump,x\nb.mp4,jump,x\nc.mp4,run,y\n"),
        ("list.csv", '"video","class"\n"a.mp4","jump"\n"b.mp4","jump"\n"c.mp4","run"\n'),
        ("list.csv", "\ufeffpath,label\r\na.mp4,jump\r\nb.mp4,jump\r\nc.mp4,run\r\n"),
        ("list.txt", "a.mp4,jump\nb.mp4,jump\nc.mp4,run\n"),
        ("list.txt", "a.mp4, jump\nb.mp4, jump\nc.mp4, run\n"),
        ("list.txt", "a.mp4\tjump\nb.mp4\tjump\n\nc.mp4\trun\n"),
        ("list.txt", "path label\na.mp4 jump\nb.mp4  jump\nc.mp4 run\n"),
        ("list.tsv", "path\tframes\tlabel\na.mp4\t9\tjump\nb.mp4\t9\tjump\nc.mp4\t9\trun\n"),
    ],
)
def test_lists_are_read_as_people_write_them(name, text, tmp_path):
    touch(tmp_path, *ENTRIES)
    split = read(tmp_path, text, name=name)
    assert split.classes == ("jump", "run")
    assert labels_by_name(split.train) == ENTRIES
    assert not split.warnings


def test_numbers_after_spaces_are_numbers(tmp_path):
    touch(tmp_path, *(f"{i}.mp4" for i in range(11)))
    split = read(tmp_path, "".join(f"{i}.mp4, {i}\n" for i in range(11)), name="list.csv")
    assert split.classes == tuple(map(str, range(11)))
    assert labels_by_name(split.train)["10.mp4"] == 10


@pytest.mark.parametrize(
    ("line", "name", "frames"),
    [
        ("take 12 0", "take 12", None),
        ("take 12 30 0", "take 12", 30),
        ("clip 9 0", "clip", 9),
        ("both 3 0", "both", 3),
        ("Smith, John 0", "Smith, John", None),
    ],
)
def test_paths_may_end_in_a_number(line, name, frames, tmp_path):
    for folder in ("take 12", "clip", "both", "both 3", "Smith, John"):
        touch(tmp_path, f"{folder}/1.jpg")
    (sample,) = read(tmp_path, f"{line}\n").train
    assert (Path(sample.path).name, sample.frames) == (name, frames)


@pytest.mark.parametrize("label", ["-1", "²", "1.5", "-0", "+1.5", "-2.0"])
def test_numbers_that_do_not_count_classes_are_rejected(label, tmp_path):
    touch(tmp_path, *ENTRIES)
    with pytest.raises(UserError, match=rf"list\.txt: entry 3 \(c\.mp4\): label {re.escape(label)}"):
        read(tmp_path, f"a.mp4 0\nb.mp4 1\nc.mp4 {label}\n")


def test_whole_numbers_with_a_point_are_read_and_told(tmp_path):
    touch(tmp_path, *ENTRIES)
    split = read(tmp_path, "a.mp4 0.0\nb.mp4 0\nc.mp4 1.0\n")
    assert split.classes == ("0", "1")
    assert labels_by_name(split.train) == ENTRIES
    assert "2 labels such as 1.0 were read as the numbers 1, …" in split.warnings[0]


def test_names_of_classes_may_look_like_numbers_partly(tmp_path):
    touch(tmp_path, *ENTRIES)
    assert read(tmp_path, "a.mp4 x-1\nb.mp4 2nd\nc.mp4 v1.0\n").classes == ("2nd", "v1.0", "x-1")


def test_overlaps_are_counted(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4", "sub/c.mp4")
    (tmp_path / "t.txt").write_text("a.mp4 0\nb.mp4 1\nsub/c.mp4 1\n")
    (tmp_path / "v.txt").write_text("./a.mp4 0\nsub/../b.mp4 1\n")
    split = read_split(Data(train=str(tmp_path / "t.txt"), val=str(tmp_path / "v.txt")))
    assert "2 videos are in the training set and in the validation set" in split.warnings[0]
    (tmp_path / "d.txt").write_text("a.mp4 0\na.mp4 1\nb.mp4 1\n")
    assert "1 videos have two labels" in read_split(Data(train=str(tmp_path / "d.txt"))).warnings[0]
    events = []
    read_test_samples(Data(val=str(tmp_path / "d.txt")), classes=("x", "y"), on_event=events.append)
    assert "1 videos have two labels" in events[0].text


@pytest.mark.skipif(os.name == "nt", reason="file names are bytes on POSIX only")
def test_names_that_are_not_utf8_are_read_from_folders_and_lists(tmp_path):
    touch(tmp_path, *(f"{name}/{i}.mp4" for name in ("one", "two") for i in range(3)))
    folder = os.fsencode(tmp_path / "one")
    shutil.copy(folder + b"/0.mp4", folder + b"/caf\xe9.mp4")
    split = read_split(Data(root=str(tmp_path)))
    assert len(split.train) + len(split.val) == 7
    (tmp_path / "list.txt").write_bytes(b"one/caf\xe9.mp4 0\none/1.mp4 0\ntwo/0.mp4 1\n")
    listed = read_split(Data(train=str(tmp_path / "list.txt")))
    assert os.fsencode(listed.train[0].path).endswith(b"one/caf\xe9.mp4")
    assert Path(listed.train[0].path).exists()


def test_a_binary_file_is_no_list(tmp_path):
    with pytest.raises(UserError, match="not a text file"):
        read(tmp_path, b"\0\0\0\x18ftypmp42" + bytes(100))

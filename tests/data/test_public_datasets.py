"""Small copies of published annotation files give the right video names, labels and order of classes."""

import dataclasses
import json

import pytest

from tanet.data.tools import public_datasets
from tanet.data.tools.public_datasets import DATASETS, read_listing


def write_annotations(folder, **texts):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("__", ".").replace("_dash_", "-")).write_text(text)
    return folder


def set_number_of_classes(monkeypatch, dataset, size):
    """Give the data set only `size` classes during a test."""
    monkeypatch.setitem(DATASETS, dataset, dataclasses.replace(DATASETS[dataset], size=size))


def names_and_labels(found):
    return [(entry.name, entry.label) for entry in found.entries]


HEAD = "label,youtube_id,time_start,time_end,split"
KINETICS = f"""{HEAD}
passing American football (in game),--a_0,7,17,train
"cutting, slowly",x-Y_z,0,10,train
massaging person's head,0b,110.0,120.0,train
"""


def test_kinetics_train_list_is_read(tmp_path, monkeypatch):
    set_number_of_classes(monkeypatch, "kinetics400", 3)
    write_annotations(tmp_path / "annotations", train__csv=KINETICS)
    found = read_listing("kinetics400", split="train", root=tmp_path)
    assert names_and_labels(found) == [
        ("--a_0_000007_000017", "passing American football (in game)"),
        ("x-Y_z_000000_000010", "cutting, slowly"),
        ("0b_000110_000120", "massaging person's head"),
    ]
    assert found.classes == (
        *("cutting, slowly", "massaging person's head"),
        "passing American football (in game)",
    )
    assert not found.notes


@pytest.mark.parametrize("called", ["val", "validate"])
def test_kinetics_val_list_has_two_possible_names(tmp_path, called):
    write_annotations(tmp_path, **{f"{called}__csv": f"{HEAD}\nb,id,1,2,{called}\na,di,1,2,train\n"})
    found = read_listing("kinetics700", split="val", root=tmp_path)
    assert names_and_labels(found) == [("id_000001_000002", "b")]
    assert found.classes == ("a", "b")  # from all splits in the file, so that all splits number them the same
    assert found.notes == (f"{tmp_path}/{called}.csv: 2 classes, where kinetics700 has 700",)


def test_classes_have_published_order(data, tmp_path):
    names = (data / "labels" / "kinetics400.txt").read_text().splitlines()
    rows = "".join(f'"{name}",id{number},0,10,train\n' for number, name in enumerate(reversed(names)))
    write_annotations(tmp_path, train__csv=f"{HEAD}\n{rows}")
    found = read_listing("kinetics400", split="train", root=tmp_path)
    assert found.classes == tuple(names)
    assert not found.notes

    names = (data / "labels" / "sthv1.txt").read_text().splitlines()
    stem = "something_dash_something_dash_v1_dash_"
    texts = {
        f"{stem}labels__csv": "\n".join(names),
        f"{stem}train__csv": f"7;{names[5]}\n100218;{names[0]}\n",
    }
    found = read_listing("something-v1", split="train", root=write_annotations(tmp_path / "v1", **texts))
    assert found.classes == tuple(names)
    assert names_and_labels(found) == [("7", names[5]), ("100218", names[0])]


def test_something_v2_list_is_read(tmp_path, monkeypatch):
    set_number_of_classes(monkeypatch, "something-v2", 3)
    template = "Putting [something] next to [something]"
    row = {"id": "74225", "label": "putting a cup next to a pen", "template": template, "placeholders": []}
    labels = {"Zooming": "0", "Putting something next to something": "1", "A": "10"}
    texts = {"validation__json": json.dumps([row], indent=1), "labels__json": json.dumps(labels)}
    found = read_listing(
        "something-v2", split="val", root=tmp_path, annotations=write_annotations(tmp_path / "x", **texts)
    )
    assert names_and_labels(found) == [("74225", "Putting something next to something")]
    assert found.classes == ("Zooming", "Putting something next to something", "A")


def test_jester_list_is_read(tmp_path):
    texts = {
        "jester_dash_v1_dash_labels__csv": "Swiping Left\nNo gesture\n",
        "jester_dash_v1_dash_validation__csv": "9223;No gesture\n",
    }
    found = read_listing("jester", split="val", root=write_annotations(tmp_path, **texts))
    assert (names_and_labels(found), found.classes) == (
        [("9223", "No gesture")],
        ("Swiping Left", "No gesture"),
    )


def test_ucf101_list_is_read(tmp_path):
    folder = write_annotations(
        tmp_path / "ucfTrainTestlist",
        classInd__txt="2 Basketball\r\n1 Archery\r\n10 HandstandPushups\r\n",
        trainlist02__txt="HandstandPushups/v_HandStandPushups_g08_c01.avi 10\r\n",
        testlist02__txt="Archery/v_Archery_g01_c01.avi\r\n",
    )
    for root in (tmp_path, tmp_path / "UCF-101"):  # the annotation folder is in the root or next to it
        found = read_listing("ucf101", split="train", root=root, fold=2)
        assert names_and_labels(found) == [("v_HandStandPushups_g08_c01", "HandstandPushups")]
        assert found.classes == ("Archery", "Basketball", "HandstandPushups")
    file = folder / "testlist02.txt"
    assert names_and_labels(read_listing("ucf101", split="test", root=tmp_path, annotations=file)) == [
        ("v_Archery_g01_c01", "Archery")
    ]


def test_hmdb51_lists_are_read(tmp_path):
    texts = {
        "shake_hands_test_split1__txt": "a_.b_0.avi 1 \nc.avi 2 \nunused.avi 0 \n",
        "clap_test_split1__txt": "#20_Rhythm_0.avi 2 \n",
        "clap_test_split3__txt": "other.avi 1 \n",
    }
    write_annotations(tmp_path, **texts)
    train = read_listing("hmdb51", split="train", root=tmp_path)
    test = read_listing("hmdb51", split="test", root=tmp_path)
    assert names_and_labels(train) == [("a_.b_0", "shake_hands")]
    assert names_and_labels(test) == [("#20_Rhythm_0", "clap"), ("c", "shake_hands")]
    assert train.classes == test.classes == ("clap", "shake_hands")


@pytest.mark.parametrize(
    ("dataset", "split", "texts", "message"),
    [
        ("kinetics", "train", {}, "unknown data set 'kinetics': choose from kinetics400, kinetics600"),
        ("ucf101", "val", {}, "ucf101 has no labelled split 'val': it has train, test"),
        ("something-v2", "test", {}, "no labelled split 'test': it has train, val"),
        ("kinetics400", "val", {}, r"no val\.csv or validate\.csv here; give the folder"),
        (
            "kinetics400",
            "test",
            {"test__csv": "youtube_id,time_start,time_end\na,0,10\n"},
            "it lacks 'label'",
        ),
        ("kinetics400", "val", {"val__csv": f"{HEAD}\na,b,0,10,train\n"}, "no video of this split"),
        ("kinetics400", "val", {"val__csv": f"{HEAD}\na,b,soon,10,val\n"}, r"val\.csv: differs from"),
        ("something-v2", "train", {"train__json": "[]"}, r"no something-something-v2-labels\.json or labels"),
        ("something-v2", "train", {"train__json": "[", "labels__json": "{}"}, r"train\.json: differs from"),
        ("ucf101", "test", {"testlist01__txt": "B/v.avi", "classInd__txt": "1 A"}, "class 'B' of video v is"),
    ],
)
def test_invalid_annotations_are_rejected_with_cause(tmp_path, dataset, split, texts, message):
    with pytest.raises(ValueError, match=message):
        read_listing(dataset, split=split, root=write_annotations(tmp_path, **texts), annotations=tmp_path)


def test_meaningless_fold_or_file_is_rejected(tmp_path):
    with pytest.raises(ValueError, match="kinetics400 has only one official split: there is no fold 2"):
        read_listing("kinetics400", split="train", root=tmp_path, fold=2)
    write_annotations(tmp_path, clap_test_split1__txt="a.avi 1\n")
    with pytest.raises(ValueError, match="the list of one class"):
        read_listing("hmdb51", split="train", root=tmp_path, annotations=tmp_path / "clap_test_split1.txt")
    with pytest.raises(ValueError, match="no such file or folder"):
        read_listing("hmdb51", split="train", root=tmp_path, annotations=tmp_path / "absent")
    with pytest.raises(ValueError, match=r"no \*_test_split2\.txt"):
        public_datasets.read_listing("hmdb51", split="train", root=tmp_path, annotations=tmp_path, fold=2)

"""Annotation files as they are published, in small: names of videos, labels, the order of classes."""

import dataclasses
import json

import pytest

from tanet.data.tools import public_datasets
from tanet.data.tools.public_datasets import DATASETS, read_listing


def write(folder, **texts):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("__", ".").replace("_dash_", "-")).write_text(text)
    return folder


def sized(monkeypatch, dataset, size):
    """The data set with the few classes of a test."""
    monkeypatch.setitem(DATASETS, dataset, dataclasses.replace(DATASETS[dataset], size=size))


def pairs(found):
    return [(entry.name, entry.label) for entry in found.entries]


HEAD = "label,youtube_id,time_start,time_end,split"
KINETICS = f"""{HEAD}
passing American football (in game),--a_0,7,17,train
"cutting, slowly",x-Y_z,0,10,train
massaging person's head,0b,110.0,120.0,train
"""


def test_kinetics(tmp_path, monkeypatch):
    sized(monkeypatch, "kinetics400", 3)
    write(tmp_path / "annotations", train__csv=KINETICS)
    found = read_listing("kinetics400", split="train", root=tmp_path)
    assert pairs(found) == [
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
def test_kinetics_val_goes_by_two_names(tmp_path, called):
    write(tmp_path, **{f"{called}__csv": f"{HEAD}\nb,id,1,2,{called}\na,di,1,2,train\n"})
    found = read_listing("kinetics700", split="val", root=tmp_path)
    assert pairs(found) == [("id_000001_000002", "b")]
    assert found.classes == ("a", "b")  # of all that the file lists, so that every split numbers them alike
    assert found.notes == (f"{tmp_path}/{called}.csv: 2 classes, where kinetics700 has 700",)


def test_the_published_orders(data, tmp_path):
    names = (data / "labels" / "kinetics400.txt").read_text().splitlines()
    rows = "".join(f'"{name}",id{number},0,10,train\n' for number, name in enumerate(reversed(names)))
    write(tmp_path, train__csv=f"{HEAD}\n{rows}")
    found = read_listing("kinetics400", split="train", root=tmp_path)
    assert found.classes == tuple(names)
    assert not found.notes

    names = (data / "labels" / "sthv1.txt").read_text().splitlines()
    stem = "something_dash_something_dash_v1_dash_"
    texts = {
        f"{stem}labels__csv": "\n".join(names),
        f"{stem}train__csv": f"7;{names[5]}\n100218;{names[0]}\n",
    }
    found = read_listing("something-v1", split="train", root=write(tmp_path / "v1", **texts))
    assert found.classes == tuple(names)
    assert pairs(found) == [("7", names[5]), ("100218", names[0])]


def test_something_v2(tmp_path, monkeypatch):
    sized(monkeypatch, "something-v2", 3)
    template = "Putting [something] next to [something]"
    row = {"id": "74225", "label": "putting a cup next to a pen", "template": template, "placeholders": []}
    labels = {"Zooming": "0", "Putting something next to something": "1", "A": "10"}
    texts = {"validation__json": json.dumps([row], indent=1), "labels__json": json.dumps(labels)}
    found = read_listing(
        "something-v2", split="val", root=tmp_path, annotations=write(tmp_path / "x", **texts)
    )
    assert pairs(found) == [("74225", "Putting something next to something")]
    assert found.classes == ("Zooming", "Putting something next to something", "A")


def test_jester(tmp_path):
    texts = {
        "jester_dash_v1_dash_labels__csv": "Swiping Left\nNo gesture\n",
        "jester_dash_v1_dash_validation__csv": "9223;No gesture\n",
    }
    found = read_listing("jester", split="val", root=write(tmp_path, **texts))
    assert (pairs(found), found.classes) == ([("9223", "No gesture")], ("Swiping Left", "No gesture"))


def test_ucf101(tmp_path):
    folder = write(
        tmp_path / "ucfTrainTestlist",
        classInd__txt="2 Basketball\r\n1 Archery\r\n10 HandstandPushups\r\n",
        trainlist02__txt="HandstandPushups/v_HandStandPushups_g08_c01.avi 10\r\n",
        testlist02__txt="Archery/v_Archery_g01_c01.avi\r\n",
    )
    for root in (tmp_path, tmp_path / "UCF-101"):  # its folder lies in the root, or beside it
        found = read_listing("ucf101", split="train", root=root, fold=2)
        assert pairs(found) == [("v_HandStandPushups_g08_c01", "HandstandPushups")]
        assert found.classes == ("Archery", "Basketball", "HandstandPushups")
    file = folder / "testlist02.txt"
    assert pairs(read_listing("ucf101", split="test", root=tmp_path, annotations=file)) == [
        ("v_Archery_g01_c01", "Archery")
    ]


def test_hmdb51(tmp_path):
    texts = {
        "shake_hands_test_split1__txt": "a_.b_0.avi 1 \nc.avi 2 \nunused.avi 0 \n",
        "clap_test_split1__txt": "#20_Rhythm_0.avi 2 \n",
        "clap_test_split3__txt": "other.avi 1 \n",
    }
    write(tmp_path, **texts)
    train = read_listing("hmdb51", split="train", root=tmp_path)
    test = read_listing("hmdb51", split="test", root=tmp_path)
    assert pairs(train) == [("a_.b_0", "shake_hands")]
    assert pairs(test) == [("#20_Rhythm_0", "clap"), ("c", "shake_hands")]
    assert train.classes == test.classes == ("clap", "shake_hands")


@pytest.mark.parametrize(
    ("dataset", "split", "texts", "message"),
    [
        ("kinetics", "train", {}, "unknown data set 'kinetics': choose from kinetics400, kinetics600"),
        ("ucf101", "val", {}, "ucf101 has no labelled split 'val': it has train, test"),
        ("something-v2", "test", {}, "no labelled split 'test': it has train, val"),
        ("kinetics400", "val", {}, r"no val\.csv or validate\.csv: name the folder"),
        (
            "kinetics400",
            "test",
            {"test__csv": "youtube_id,time_start,time_end\na,0,10\n"},
            "it lacks 'label'",
        ),
        ("kinetics400", "val", {"val__csv": f"{HEAD}\na,b,0,10,train\n"}, "it lists no video of this split"),
        ("kinetics400", "val", {"val__csv": f"{HEAD}\na,b,soon,10,val\n"}, r"val\.csv: not as kinetics400"),
        ("something-v2", "train", {"train__json": "[]"}, r"no something-something-v2-labels\.json or labels"),
        ("something-v2", "train", {"train__json": "[", "labels__json": "{}"}, r"train\.json: not as someth"),
        ("ucf101", "test", {"testlist01__txt": "B/v.avi", "classInd__txt": "1 A"}, "class 'B' of video v is"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, dataset, split, texts, message):
    with pytest.raises(ValueError, match=message):
        read_listing(dataset, split=split, root=write(tmp_path, **texts), annotations=tmp_path)


def test_where_a_fold_or_one_list_has_no_meaning(tmp_path):
    with pytest.raises(ValueError, match="kinetics400 has only one official split: there is no fold 2"):
        read_listing("kinetics400", split="train", root=tmp_path, fold=2)
    write(tmp_path, clap_test_split1__txt="a.avi 1\n")
    with pytest.raises(ValueError, match="the list of one class"):
        read_listing("hmdb51", split="train", root=tmp_path, annotations=tmp_path / "clap_test_split1.txt")
    with pytest.raises(ValueError, match="no such file or folder"):
        read_listing("hmdb51", split="train", root=tmp_path, annotations=tmp_path / "absent")
    with pytest.raises(ValueError, match=r"no \*_test_split2\.txt"):
        public_datasets.read_listing("hmdb51", split="train", root=tmp_path, annotations=tmp_path, fold=2)

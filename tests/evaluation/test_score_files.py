"""Score files load as they were saved, are readable as safetensors, and are rejected when damaged."""

import dataclasses
import json

import pytest
import safetensors.torch
import torch

from tanet.data.samples import Sample
from tanet.evaluation import score_files
from tanet.evaluation.report import Report
from tanet.evaluation.score_files import ScoredModel, Scores
from tanet.recipes.recipe import Data
from tanet.video import VideoError
from tests.support.tiny_videos import TINY


def make_scores(root="videos", *, frames=4, checkpoint="runs/a.safetensors"):
    """Make random scores of three readable videos and one bad video."""
    recipe = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, frames=frames))
    values = torch.rand(3, 2, generator=torch.Generator().manual_seed(frames))
    samples = tuple(Sample(f"{root}/val/{name}.mp4", label) for name, label in (("ä", 0), ("y", 1), ("z", 1)))
    bad = {f"{root}/val/bad.mp4": VideoError(f"{root}/val/bad.mp4", "no frames")}
    report = Report(samples, ("left", "right"), values / values.sum(1, keepdim=True), bad)
    return Scores(checkpoint, report, root, (ScoredModel(checkpoint, "ab" * 32, recipe, {"torch": "2.11"}),))


def test_saved_scores_load_unchanged(tmp_path):
    before, path = make_scores(), tmp_path / "scores"
    score_files.save(path, before)
    after = score_files.load(path)
    assert score_files.is_scores(path)
    assert torch.equal(after.report.scores, before.report.scores)
    assert after.report.samples == before.report.samples
    assert after.report.classes == before.report.classes
    assert [str(error) for error in after.report.bad.values()] == ["videos/val/bad.mp4: no frames"]
    assert list(after.report.bad) == list(before.report.bad)
    assert after.name == str(path)
    assert after.sources == before.sources  # includes the recipe
    assert after.report.accuracy == before.report.accuracy


def test_score_file_is_readable_as_safetensors(tmp_path):
    score_files.save(tmp_path / "scores", make_scores("/data/mine"))
    with safetensors.safe_open(tmp_path / "scores", framework="pt") as file:
        header = json.loads(file.metadata()["tanet-scores"])
        assert file.get_tensor("scores").dtype == torch.float32
        assert file.get_tensor("labels").tolist() == [0, 1, 1]
    assert header["root"] == "/data/mine"
    assert header["videos"] == ["val/ä.mp4", "val/y.mp4", "val/z.mp4"]
    assert header["classes"] == ["left", "right"]
    assert header["sources"][0]["recipe"]["eval"]["clips"] == 1
    assert header["sources"][0]["sha256"] == "ab" * 32


def test_videos_outside_root_keep_their_paths():
    found = make_scores("videos")
    assert dataclasses.replace(found, root="").names[1] == "videos/val/y.mp4"
    assert dataclasses.replace(found, root="vid").names[1] == "videos/val/y.mp4"


def test_relative_root_defaults_to_folder_of_list():
    assert score_files.relative_root(Data(root="r", val="lists/val.txt")) == "r"
    assert score_files.relative_root(Data(val="lists/val.txt")) == "lists"
    assert score_files.relative_root(Data()) == ""


def test_described_model_contains_checksum_and_versions(tmp_path):
    (tmp_path / "model").write_bytes(b"abc")
    source = score_files.describe_model(tmp_path / "model", recipe=TINY)
    assert source.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert source.versions["torch"]


def rewrite_with_change(path, change):
    """Apply `change` to the header and tensors of the file and save it."""
    with safetensors.safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["tanet-scores"])
    tensors = safetensors.torch.load_file(path)
    change(header, tensors)
    path.write_bytes(safetensors.torch.save(tensors, {"tanet-scores": json.dumps(header)}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header, tensors: header.pop("videos"), "videos"),
        (lambda header, tensors: header["videos"].pop(), "for 2 videos and 2 classes"),
        (lambda header, tensors: tensors["labels"].fill_(2), "labels do not fit"),
        (lambda header, tensors: tensors.pop("scores"), "scores"),
        (lambda header, tensors: header.update(format=9), "unknown format 9; this version of tanet reads"),
        (lambda header, tensors: header["sources"][0]["recipe"].update(odd=1), "unknown field odd"),
    ],
)
def test_inconsistent_file_is_rejected(tmp_path, change, message):
    path = tmp_path / "scores"
    score_files.save(path, make_scores())
    rewrite_with_change(path, change)
    with pytest.raises(ValueError, match=message) as error:
        score_files.load(path)
    assert str(error.value).startswith(f"{path}: ")


def test_damaged_and_other_files_are_rejected(tmp_path):
    path = tmp_path / "scores"
    score_files.save(path, make_scores())
    path.write_bytes(path.read_bytes()[:-3])
    assert score_files.is_scores(path)  # the header alone decides that it is a score file
    with pytest.raises(ValueError, match="this is not a score file, or it is damaged"):
        score_files.load(path)
    safetensors.torch.save_file({"x": torch.zeros(1)}, path)
    assert not score_files.is_scores(path)
    with pytest.raises(ValueError, match="this safetensors file contains no scores"):
        score_files.load(path)
    for content in (b"", b"PK\x03\x04 of zip", b"\x02" + bytes(7) + b"[]", b"\x02" + bytes(7) + b"\xff\xff"):
        path.write_bytes(content)
        assert not score_files.is_scores(path)
    with pytest.raises(ValueError, match="no such file"):
        score_files.load(tmp_path / "absent")

"""`tanet timeline` and `tanet features` from the command line: files, resuming, clips, errors."""

import csv
import json
from xml.etree import ElementTree

import av
import numpy as np
import pytest
import torch

from tanet.checkpoints import checkpoint
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.cli import main
from tanet.models.factory import build
from tests.support.encoded_videos import X264, encode
from tests.support.tiny_videos import TINY

CLASSES = ("jump", "run & <hide>", "sit")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write a checkpoint and two videos."""
    root = tmp_path_factory.mktemp("long")
    torch.manual_seed(0)
    network = build(TINY.model, classes=3)
    torch.nn.init.normal_(network.head.weight, std=3)
    checkpoint.save(root / "model.safetensors", Checkpoint(network, TINY, CLASSES))
    encode(root / "match.mp4", "libx264", 12, X264, times=range(150))
    encode(root / "other.mkv", "libx264", 12, X264, times=range(40))
    return root


def run(command, folder, *words):
    return main([command, str(folder / "model.safetensors"), *map(str, words), "--device", "cpu"])


@pytest.mark.parametrize("kind", ["json", "csv", "vtt", "srt", "eaf"])
def test_segments_are_written_in_each_format(kind, folder, tmp_path, capsys):
    out = tmp_path / f"found.{kind}"
    words = [folder / "match.mp4", "--window", "16", "--shortest", "0.01", "--margin", "0", "--out", out]
    assert run("timeline", folder, *words) == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if "–" in line]
    text = out.read_text()
    if kind == "json":
        found = json.loads(text)["results"]["match"]
        assert len(found) == len(shown)
        assert found[0]["segment"][0] == 0
        assert found[-1]["segment"][1] == pytest.approx(6.0)
        assert {one["label"] for one in found} <= set(CLASSES)
    elif kind == "csv":
        rows = list(csv.DictReader(text.splitlines()))
        assert [float(row["end"]) for row in rows[:-1]] == [float(row["start"]) for row in rows[1:]]
    elif kind == "eaf":
        root = ElementTree.fromstring(text)
        assert len(root.findall(".//ALIGNABLE_ANNOTATION")) == len(shown)
        assert [entry.text for entry in root.findall(".//CVE_VALUE")] == list(CLASSES)
    else:
        assert text.count(" --> ") == len(shown)
        assert text.startswith("WEBVTT") == (kind == "vtt")
        assert "<hide>" not in text


def test_top_segments_picture_and_clips(folder, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    words = [folder / "match.mp4", "--window", "0.5s", "--hop", "0.25s", "--top", "2", "--shortest", "0.01"]
    assert run("timeline", folder, *words, "--clips", tmp_path / "cut", "--picture", tmp_path / "p.png") == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if "–" in line]
    clips = sorted((tmp_path / "cut").iterdir())
    assert len(shown) == len(clips) <= 2
    for clip in clips:
        with av.open(str(clip)) as container:
            assert next(container.decode(video=0)).key_frame
    assert (tmp_path / "p.png").stat().st_size > 5000


def test_features_are_written_and_not_computed_again(folder, tmp_path, monkeypatch, capsys):
    out = tmp_path / "features"
    words = [folder / "match.mp4", folder / "other.mkv", "--out", out, "--window", "16", "--stride", "4"]
    assert run("features", folder, *words, "--workers", "2") == 0
    values, about = np.load(out / "match.npy"), json.loads((out / "match.json").read_text())
    assert values.shape == ((150 - 16) // 4 + 1, 128)
    assert about["seconds"][:2] == [0.32, 0.48]  # (i · 4 + 8) / 25
    assert about["first_centre_frames"] == 8
    assert "num_frames: 16" in (out / "actionformer.yaml").read_text()
    assert "offset_frames=8" in (out / "opentad.py").read_text()
    monkeypatch.setattr("tanet.cli.features.extract", lambda *_, **__: pytest.fail("computed again"))
    assert run("features", folder, *words) == 0
    monkeypatch.undo()
    assert run("features", folder, *words, "--dtype", "float16") == 0
    assert np.load(out / "match.npy").dtype == np.float16
    capsys.readouterr()
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    assert run("features", folder, tmp_path / "bad.mp4", "--out", out) == 2
    assert "bad.mp4" in (out / "errors.txt").read_text()


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("timeline", ["match.mp4", "--window", "2m"], "'2m' is no length"),
        ("timeline", ["match.mp4", "--out", "x.txt"], "the name must end in .json, .csv, .vtt, .srt, .eaf"),
        ("timeline", ["match.mp4", "other.mkv", "--out", "x.vtt"], "a .vtt file is for one video, but 2 are"),
        ("timeline", ["match.mp4", "--margin", "-1"], "margin must be 0 or more, not -1"),
        ("timeline", [], "usage: tanet timeline CHECKPOINT VIDEO"),
        ("features", ["match.mp4"], "usage: tanet features CHECKPOINT VIDEO … --out DIR"),
        ("features", ["none.mp4", "--out", "out"], "none.mp4"),
    ],
)
def test_errors_are_one_line(command, words, message, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert run(command, folder, *words) == 2
    assert message in capsys.readouterr().err

"""A checkpoint comes back as it went; a file that is none, or not whole, is refused in one line."""

import contextlib
import dataclasses
import errno
import json
import os
import pickle
import stat
import zipfile

import pytest
import safetensors.torch
import torch

from tanet.checkpoints import checkpoint
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.initialize import load_backbone_weights, load_initial_weights
from tanet.checkpoints.weights import read_weights
from tanet.models.backbones2d import BACKBONES
from tanet.models.factory import build
from tanet.recipes.recipe import Network2D
from tests.support.tiny_videos import TINY


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    network = build(TINY.model, classes=2).eval()
    path = tmp_path / "run" / "best.safetensors"
    checkpoint.save(path, Checkpoint(network, TINY, ("left", "right"), {"epoch": 3}))
    return network, path


def test_round_trip(saved):
    network, path = saved
    model = checkpoint.load(path)
    clips = torch.randn(1, 4, 3, 32, 32)
    assert torch.equal(model.network(clips), network(clips))
    assert not model.network.training
    assert (model.recipe, model.classes, model.info["epoch"]) == (TINY, ("left", "right"), 3)
    assert model.info["versions"]["torch"] == torch.__version__
    assert checkpoint.read_recipe(path) == TINY
    assert [file.name for file in path.parent.iterdir()] == ["best.safetensors"]


@pytest.mark.parametrize(("number", "matters"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_a_mount_that_syncs_no_folders(tmp_path, monkeypatch, number, matters):
    really = os.fsync

    def fsync(file):
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(number, os.strerror(number))
        really(file)

    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(OSError, match=r"a\.txt") if matters else contextlib.nullcontext():
        checkpoint.write_atomically(tmp_path / "a.txt", b"whole")
    assert (tmp_path / "a.txt").read_bytes() == b"whole"


@pytest.mark.parametrize("size", [0, 5, 100, 3000, 50_000])
def test_a_cut_file_is_refused(saved, size):
    _, path = saved
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match=r"best.safetensors: not a checkpoint, or a damaged one"):
        checkpoint.load(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        checkpoint.load(tmp_path / "none.safetensors")
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="not a tanet checkpoint"):
        checkpoint.load(tmp_path / "other.safetensors")


def test_weights_that_do_not_fit_the_recipe_are_refused(tmp_path):
    larger = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, frames=8))
    checkpoint.save(tmp_path / "a.safetensors", Checkpoint(build(TINY.model, classes=2), larger, ("a", "b")))
    with pytest.raises(ValueError, match=r"^[^\n]*do not fit [^\n]*size mismatch[^\n]*$"):
        checkpoint.load(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"recipe": None}, "its recipe cannot be read"),
        ({"recipe": []}, "its recipe cannot be read"),
        (
            {"recipe": "folder"},
            "its recipe cannot be read: recipe: must be a dictionary of fields, not 'folder'",
        ),
        ({"recipe": {"model": 5}}, "its recipe cannot be read"),
        ({"recipe": {"model": {"frames": "8"}}}, "its recipe cannot be read"),
        (
            {"recipe": {"model": {"frames": -1}}},
            "its recipe cannot be read: model.frames must be at least 1, not -1",
        ),
        ({"recipe": {"model": {"temporal": "tma"}}}, "its recipe cannot be read: unknown temporal module"),
        ({"classes": None}, "its class names cannot be read: None"),
        ({"classes": "left"}, "its class names cannot be read: 'left'"),
        ({"classes": [1, 2]}, "its class names cannot be read"),
        ({"info": [3]}, "its info cannot be read"),
        ({"format": 0}, "unknown format 0; this version of tanet reads 1"),
        ({"format": 2}, "unknown format 2; this version of tanet reads 1"),
    ],
)
def test_a_damaged_header_is_refused_by_all_who_read_it(saved, fields, message):
    network, path = saved
    with safetensors.safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["tanet"]) | fields
    safetensors.torch.save_file(network.state_dict(), path, {"tanet": json.dumps(header)})
    for read in (
        checkpoint.load,
        checkpoint.read_recipe,
        lambda path: load_initial_weights(network, path, model=TINY.model, classes=("left", "right")),
    ):
        with pytest.raises(ValueError, match=rf"^\S*best\.safetensors: {message}[^\n]*$"):
            read(path)


def test_what_a_file_is_shows_in_it_and_not_in_its_name(saved, tmp_path):
    network, path = saved
    path.rename(tmp_path / "best.pth.tar")
    assert checkpoint.load(tmp_path / "best.pth.tar").recipe == TINY
    state, beside = read_weights(tmp_path / "best.pth.tar")
    assert state.keys() == network.state_dict().keys()
    assert "tanet" in beside
    for zipped in (True, False):
        torch.save(network.state_dict(), path, _use_new_zipfile_serialization=zipped)
        state, beside = read_weights(path)
        assert torch.equal(state["head.weight"], network.head.weight)
        assert beside == {}


def test_a_failed_write_keeps_the_old_file(saved, monkeypatch):
    _, path = saved
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write_atomically(path, b"new")
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize("temporal", ["none", "tam"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_imagenet_weights_load_before_and_after_plugging(tmp_path, temporal, suffix):
    plain = BACKBONES["resnet18"]()
    path = tmp_path / f"imagenet{suffix}"
    (safetensors.torch.save_file if suffix == ".safetensors" else torch.save)(plain.state_dict(), path)
    network = build(Network2D(backbone="resnet18", temporal=temporal), classes=3)
    load_backbone_weights(network.backbone, path)
    assert torch.equal(network.backbone.layer4[1].conv2.weight, plain.layer4[1].conv2.weight)


def test_wrong_weights_are_refused_by_key(tmp_path):
    torch.save(BACKBONES["resnet34"]().state_dict(), tmp_path / "w.pth")
    network = build(Network2D(backbone="resnet18"), classes=3)
    with pytest.raises(ValueError, match=r"missing: none; unexpected: layer1\.2\.bn1\.bias, .* and \d+ more"):
        load_backbone_weights(network.backbone, tmp_path / "w.pth")
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"missing: bn1\.bias"):
        load_backbone_weights(network.backbone, tmp_path / "w.pth")


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_nothing_in_a_file_is_executed(tmp_path):
    network = build(Network2D(backbone="resnet18_w16"), classes=3)
    torch.save({"state_dict": {}, "bomb": Bomb()}, tmp_path / "bomb.pth")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Bomb(), protocol=2))
    with zipfile.ZipFile(tmp_path / "empty.pth", "w"):
        pass
    for name in ("bomb", "raw", "empty"):
        with pytest.raises(ValueError, match=r"^[^\n]*cannot be read as weights[^\n]*$"):
            load_backbone_weights(network.backbone, tmp_path / f"{name}.pth")


def test_the_real_mobilenet_weights_load(data):
    network = build(Network2D(backbone="mobilenet_v2", temporal="tam"), classes=3)
    load_backbone_weights(network.backbone, data / "weights" / "mobilenet_v2_imagenet.pth")
    assert network.backbone.features[0][0].weight.std() > 0.1

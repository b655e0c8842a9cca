"""Checkpoints load as they were saved; damaged files and other files are rejected with a one-line error."""

import contextlib
import dataclasses
import errno
import json
import os
import pickle
import stat
import zipfile
from importlib import metadata

import pytest
import safetensors.torch
import torch

from tanet.checkpoints import checkpoint
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.image_weights import load_backbone_weights
from tanet.checkpoints.initialize import load_initial_weights
from tanet.checkpoints.weights import read_weights
from tanet.models.backbones2d import BACKBONES
from tanet.models.factory import build
from tanet.recipes.recipe import Network2D
from tanet.runtime.files import write_atomically
from tests.support.tiny_videos import TINY


@pytest.fixture
def saved_checkpoint(tmp_path):
    torch.manual_seed(0)
    network = build(TINY.model, classes=2).eval()
    path = tmp_path / "run" / "best.safetensors"
    checkpoint.save(path, Checkpoint(network, TINY, ("left", "right"), {"epoch": 3}))
    return network, path


def test_saved_checkpoint_loads_unchanged(saved_checkpoint):
    network, path = saved_checkpoint
    model = checkpoint.load(path)
    clips = torch.randn(1, 4, 3, 32, 32)
    assert torch.equal(model.network(clips), network(clips))
    assert not model.network.training
    assert (model.recipe, model.classes, model.info["epoch"]) == (TINY, ("left", "right"), 3)
    assert model.info["versions"]["torch"] == metadata.version("torch")
    assert checkpoint.read_recipe(path) == TINY
    assert [file.name for file in path.parent.iterdir()] == ["best.safetensors"]


@pytest.mark.parametrize(("number", "matters"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_folder_sync_error_is_ignored_only_if_unsupported(tmp_path, monkeypatch, number, matters):
    original = os.fsync

    def fsync(file):
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(number, os.strerror(number))
        original(file)

    monkeypatch.setattr("os.fsync", fsync)
    with pytest.raises(OSError, match=r"a\.txt") if matters else contextlib.nullcontext():
        write_atomically(tmp_path / "a.txt", b"whole")
    assert (tmp_path / "a.txt").read_bytes() == b"whole"


@pytest.mark.parametrize("size", [0, 5, 100, 3000, 50_000])
def test_truncated_file_is_rejected(saved_checkpoint, size):
    _, path = saved_checkpoint
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(
        ValueError, match=r"best.safetensors: (not a checkpoint, or the file is damaged|the file is empty)"
    ):
        checkpoint.load(path)


def test_missing_file_and_other_file_are_rejected(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        checkpoint.load(tmp_path / "none.safetensors")
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="not a checkpoint of tanet"):
        checkpoint.load(tmp_path / "other.safetensors")


def test_weights_that_do_not_fit_recipe_are_rejected(tmp_path):
    larger = dataclasses.replace(TINY, model=dataclasses.replace(TINY.model, frames=8))
    checkpoint.save(tmp_path / "a.safetensors", Checkpoint(build(TINY.model, classes=2), larger, ("a", "b")))
    with pytest.raises(ValueError, match=r"^[^\n]*do not fit [^\n]*size mismatch[^\n]*$"):
        checkpoint.load(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"recipe": None}, "the recipe cannot be read"),
        ({"recipe": []}, "the recipe cannot be read"),
        (
            {"recipe": "folder"},
            "the recipe cannot be read: recipe: must be a dictionary of fields, not 'folder'",
        ),
        ({"recipe": {"model": 5}}, "the recipe cannot be read"),
        ({"recipe": {"model": {"frames": "8"}}}, "the recipe cannot be read"),
        (
            {"recipe": {"model": {"frames": -1}}},
            "the recipe cannot be read: model.frames must be at least 1, not -1",
        ),
        ({"recipe": {"model": {"temporal": "tma"}}}, "the recipe cannot be read: unknown temporal module"),
        ({"classes": None}, "the class names cannot be read: None"),
        ({"classes": "left"}, "the class names cannot be read: 'left'"),
        ({"classes": [1, 2]}, "the class names cannot be read"),
        ({"info": [3]}, "the field info cannot be read"),
        ({"format": 0}, "unknown format 0; this version of tanet reads format 1"),
        ({"format": 2}, "unknown format 2; this version of tanet reads format 1"),
    ],
)
def test_every_reader_rejects_damaged_header(saved_checkpoint, fields, message):
    network, path = saved_checkpoint
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


def test_file_type_is_read_from_content_not_from_name(saved_checkpoint, tmp_path):
    network, path = saved_checkpoint
    path.rename(tmp_path / "best.pth.tar")
    assert checkpoint.load(tmp_path / "best.pth.tar").recipe == TINY
    file = read_weights(tmp_path / "best.pth.tar")
    assert file.state.keys() == network.state_dict().keys()
    assert "tanet" in file.beside
    for zipped in (True, False):
        torch.save(network.state_dict(), path, _use_new_zipfile_serialization=zipped)
        file = read_weights(path)
        assert torch.equal(file.state["head.weight"], network.head.weight)
        assert file.beside == {}


def test_failed_write_keeps_old_file(saved_checkpoint, monkeypatch):
    _, path = saved_checkpoint
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize("temporal", ["none", "tam"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_imagenet_weights_load_with_and_without_temporal_modules(tmp_path, temporal, suffix):
    plain = BACKBONES["resnet18"]()
    path = tmp_path / f"imagenet{suffix}"
    (safetensors.torch.save_file if suffix == ".safetensors" else torch.save)(plain.state_dict(), path)
    network = build(Network2D(backbone="resnet18", temporal=temporal), classes=3)
    load_backbone_weights(network.backbone, path)
    assert torch.equal(network.backbone.layer4[1].conv2.weight, plain.layer4[1].conv2.weight)


def test_wrong_weights_are_rejected_with_their_names(tmp_path):
    extra = {f"layer1.2.bn{n}.bias": torch.zeros(64) for n in range(10)}
    torch.save(BACKBONES["resnet18"]().state_dict() | extra, tmp_path / "w.pth")
    network = build(Network2D(backbone="resnet18"), classes=3)
    with pytest.raises(ValueError, match=r"missing: none; unexpected: layer1\.2\.bn0\.bias, .* and \d+ more"):
        load_backbone_weights(network.backbone, tmp_path / "w.pth")
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"missing: bn1\.bias"):
        load_backbone_weights(network.backbone, tmp_path / "w.pth")


class RunsCodeWhenUnpickled:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_loading_executes_no_code_of_file(tmp_path):
    network = build(Network2D(backbone="resnet18_w16"), classes=3)
    torch.save({"state_dict": {}, "bomb": RunsCodeWhenUnpickled()}, tmp_path / "bomb.pth")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(RunsCodeWhenUnpickled(), protocol=2))
    with zipfile.ZipFile(tmp_path / "empty.pth", "w"):
        pass
    refused = r"^[^\n]*asks to call [^\n]*exec[^\n]*$"
    for name, message in (("bomb", refused), ("raw", refused), ("empty", "cannot be read as weights")):
        with pytest.raises(ValueError, match=message):
            load_backbone_weights(network.backbone, tmp_path / f"{name}.pth")


def test_published_mobilenet_weights_load(data):
    network = build(Network2D(backbone="mobilenet_v2", temporal="tam"), classes=3)
    load_backbone_weights(network.backbone, data / "weights" / "mobilenet_v2_imagenet.pth")
    assert network.backbone.features[0][0].weight.std() > 0.1

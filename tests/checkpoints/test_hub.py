"""Checkpoints on the hub: what is requested, pinned, found offline and told. Real client, local server."""

import os
import sys

import pytest
import torch

import tanet
from tanet.checkpoints import checkpoint
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.hub import hub_name, hub_path, is_hub
from tanet.errors import UserError
from tanet.models.factory import build
from tests.support.hub_server import hub as hub
from tests.support.hub_server import hub_server as hub_server
from tests.support.tiny_videos import TINY

pytest.importorskip("huggingface_hub")


def content(folder, *, seed=0):
    """Return the content of a checkpoint's file."""
    torch.manual_seed(seed)
    path = folder / "made.safetensors"
    checkpoint.save(path, Checkpoint(build(TINY.model, classes=2), TINY, ("left", "right"), {"epoch": 3}))
    return path.read_bytes()


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return content(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    return content(tmp_path_factory.mktemp("second"), seed=1)


def test_load_requests_only_weights_and_remembers_commit(hub, first):
    commit = hub.add("user/tiny", first)
    path = hub_path("hf://user/tiny")
    assert path.read_bytes() == first
    assert hub.asked_for() == {"model.safetensors"}
    model = checkpoint.load(path)
    assert (model.info["hub"], model.info["epoch"]) == (f"user/tiny@{commit}", 3)
    hub.requests.clear()
    assert hub_path("hf://user/tiny") == path
    assert hub.requests == ["HEAD /user/tiny/resolve/main/model.safetensors"]


def test_pinned_revisions_stay(hub, first, second):
    commit = hub.add("user/tiny", first)
    repo = hub.repos["user/tiny"]
    repo.refs.update({"v1": commit, "try": commit})
    newer = hub.add("user/tiny", second)
    assert hub_path("hf://user/tiny").read_bytes() == second
    for revision in (commit, "v1", "try"):
        path = hub_path(f"hf://user/tiny@{revision}")
        assert path.read_bytes() == first
        assert hub_name(path) == f"user/tiny@{commit}"
    assert hub_name(hub_path("hf://user/tiny@main")) == f"user/tiny@{newer}"
    hub.requests.clear()
    assert hub_path(f"hf://user/tiny@{commit}").read_bytes() == first
    assert hub.requests == []


def test_moved_branch_is_followed(hub, first, second):
    hub.add("user/tiny", first)
    hub_path("hf://user/tiny")
    hub.add("user/tiny", second)
    assert hub_path("hf://user/tiny").read_bytes() == second


def test_loaded_checkpoint_is_found_offline(hub, first, monkeypatch):
    hub.add("user/tiny", first)
    path = hub_path("hf://user/tiny")
    hub.requests.clear()
    hub.change_settings(monkeypatch, HF_HUB_OFFLINE="1")
    notes = []
    assert hub_path("hf://user/tiny", on_event=notes.append) == path
    assert (hub.requests, notes) == ([], [])
    with pytest.raises(UserError, match=r"^hf://user/tiny@v2: not in the cache, and HF_HUB_OFFLINE forbids"):
        hub_path("hf://user/tiny@v2")


def test_variable_of_tanet_forbids_requests_too(hub, first, monkeypatch):
    hub.add("user/tiny", first)
    path = hub_path("hf://user/tiny")
    hub.requests.clear()
    monkeypatch.setenv("TANET_OFFLINE", "1")
    assert hub_path("hf://user/tiny") == path
    with pytest.raises(UserError, match="not in the cache, and TANET_OFFLINE forbids"):
        hub_path("hf://user/tiny@v2")
    assert hub.requests == []


def test_interrupted_download_leaves_older_checkpoint_for_offline(hub, first, second, monkeypatch):
    hub.add("user/tiny", first)
    hub_path("hf://user/tiny")
    hub.add("user/tiny", second)
    hub.storage_status = 403
    with pytest.raises(UserError, match=r"^hf://user/tiny: "):
        hub_path("hf://user/tiny")
    hub.change_settings(monkeypatch, HF_HUB_OFFLINE="1")
    assert hub_path("hf://user/tiny").read_bytes() == first


@pytest.mark.parametrize("status", [0, 503, 429])
def test_unreachable_hub_is_told_at_once(hub, first, status, monkeypatch):
    hub.add("user/tiny", first)
    path = hub_path("hf://user/tiny")
    hub.status = status
    if not status:
        hub.leave(monkeypatch)
    notes = []
    assert hub_path("hf://user/tiny", on_event=notes.append) == path
    assert [note.text for note in notes] == [
        f"hf://user/tiny: the hub cannot be reached; commit {path.parent.name} is used"
    ]
    for source in ("hf://user/other", f"hf://user/tiny@{'a' * 40}"):
        with pytest.raises(
            UserError, match=f"^{source}: the hub cannot be reached .*resolve.*model.safetensors"
        ):
            hub_path(source)


def test_private_repository_needs_token(hub, first, monkeypatch):
    hub.add("user/mine", first, private=True)
    for token in ("", "hf_reader", "hf_revoked"):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(UserError) as raised:
            hub_path("hf://user/mine")
        assert str(raised.value).startswith("hf://user/mine: ")
        assert str(raised.value).endswith(": log in with `hf auth login`, or set HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    assert hub_path("hf://user/mine").read_bytes() == first


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hf://user/absent", "no such repository, or a private one that you may not read"),
        ("hf://user/tiny@v9", "the repository has no branch, tag or commit 'v9'"),
        ("hf://user/empty", "the repository has no model.safetensors"),
        ("hf://user", "give hf://user/name or hf://user/name@revision"),
        ("hf://user/na--me", "not a name of a repository"),
    ],
)
def test_error_is_one_line(hub, first, source, message):
    hub.add("user/tiny", first)
    hub.add("user/empty", first)
    hub.files("user/empty").clear()
    with pytest.raises(UserError) as raised:
        hub_path(source)
    assert str(raised.value).startswith(f"{source}: {message}")
    assert "\n" not in str(raised.value)


def test_missing_client_names_extra(hub, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"^hf://user/tiny: .*: pip install 'tanet\[hub\]'$"):
        hub_path("hf://user/tiny")


def test_tanet_load_takes_hub_address(hub, first):
    commit = hub.add("user/tiny", first)
    model = tanet.load("hf://user/tiny")
    assert (model.classes, model.info["hub"]) == (("left", "right"), f"user/tiny@{commit}")


def test_sources_are_told_apart(tmp_path):
    assert is_hub("hf://user/name@v1")
    assert not any(map(is_hub, ("user/name", tmp_path / "hf:" / "x", "i3d-k400", os.fspath(tmp_path))))
    assert hub_name(tmp_path / "model.safetensors") == ""

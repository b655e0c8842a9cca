"""Published weights by name: fetched once, verified, converted, and fetched again if they are damaged.

The server is a stub on this machine. `tests/long/test_packages.py` fetches the real files.
"""

import dataclasses
import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch

import tanet
from tanet.checkpoints import checkpoint
from tanet.checkpoints.pretrained import cache, entries, open_url
from tanet.checkpoints.pretrained.entries import Entry
from tanet.checkpoints.pretrained.fetch import fetch
from tanet.errors import UserError
from tanet.models.backbones2d import BACKBONES, remove_classifier
from tanet.runtime.events import Note, Progress
from tests.support.file_server import serve
from tests.support.tiny_videos import TINY

ENTRY = Entry(
    name="tiny-ssv2",
    kind="video",
    architecture="tanet-resnet18",
    data="ssv2",
    classes=174,
    frames=4,
    top1=50.0,
    top5=80.0,
    protocol="1 clip",
    source="tanet",
    url="",
    file="tiny.safetensors",
    sha256="",
    licence="Apache-2.0",
    options={},
    parameters=0,
    gflops=0.0,
    size=0,
    package="",
)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Content of a file with a small network of 174 classes."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("published") / "tiny.safetensors"
    names = tuple(map(str, range(174)))
    checkpoint.save(path, checkpoint.Checkpoint(tanet.build(TINY.model, classes=174), TINY, names))
    return path.read_bytes()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TANET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(open_url, "PAUSE", 0.001)
    for name in open_url.OFFLINE:
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def server(home, published):
    with serve() as server:
        server.files["/tiny.safetensors"] = published
        yield server


@pytest.fixture
def entry(server, published, monkeypatch):
    """The entry, which the index has now."""
    hashed = hashlib.sha256(published).hexdigest()[:8]
    entry = dataclasses.replace(ENTRY, url=f"{server.url}/tiny.safetensors", sha256=hashed)
    monkeypatch.setattr("tanet.checkpoints.sources.read_index", lambda: {entry.name: entry})
    monkeypatch.setattr("tanet.checkpoints.sources.find_entry", lambda _: entry)
    return entry


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def error_of(entry):
    with pytest.raises(UserError) as caught:
        fetch(entry)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def notes_of(entry):
    events = []
    fetch(entry, on_event=events.append)
    return [event.text for event in events if isinstance(event, Note)]


def test_name_is_enough_to_load_a_network_with_its_class_names(entry, server, home, published):
    events = []
    model = tanet.load("tiny-ssv2", on_event=events.append)
    assert any(isinstance(event, Progress) for event in events)
    assert model.classes == entries.class_names(entry)
    assert model.classes[0] == "Approaching something with your camera"
    state = safetensors.torch.load(published)
    assert all(torch.equal(state[name], value) for name, value in model.network.state_dict().items())
    assert model.info["pretrained"] == "tiny-ssv2"
    assert model.info["licence"] == "Apache-2.0"
    tanet.load("tiny-ssv2")
    assert len(server.requests) == 1
    assert files(home) == ["models/tiny-ssv2.json", "models/tiny-ssv2.safetensors"]


def test_cached_weights_need_no_access(entry, server, monkeypatch):
    path = fetch(entry)
    monkeypatch.setenv("TANET_OFFLINE", "1")
    assert fetch(entry) == path
    path.unlink()
    assert error_of(entry) == (
        f"TANET_OFFLINE forbids requests: get {server.url}/tiny.safetensors another way, and put it at "
        f"{cache.original_path(entry)}"
    )


def test_file_put_there_by_hand_is_verified_converted_and_kept(entry, server, home, published, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = cache.original_path(entry)
    path.parent.mkdir(parents=True)
    path.write_bytes(published[:-1])
    assert "the sha256 is" in error_of(entry)
    assert not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(published)
    assert fetch(entry) == home / "models" / "tiny-ssv2.safetensors"
    assert path.read_bytes() == published
    assert server.requests == []


def test_hash_is_told_and_pinned_where_the_index_has_none(entry, server, published):
    entry, whole = dataclasses.replace(entry, sha256=""), hashlib.sha256(published).hexdigest()
    assert notes_of(entry) == [f"tiny-ssv2: no hash is published; pinned at this download: sha256 {whole}"]
    cache.cached_path(entry).unlink()
    assert notes_of(entry) == []
    cache.cached_path(entry).unlink()
    server.files["/tiny.safetensors"] = published + b" "
    server.etag = '"two"'
    told = error_of(entry)
    record = cache.cached_path(entry).with_suffix(".json")
    assert f"not {whole}" in told
    assert told.endswith(f"delete {record} to take the new file")
    assert not cache.is_cached(entry)


@pytest.mark.parametrize("damage", ["cut off", "changed", "empty"])
def test_damaged_cache_is_told_and_fetched_again(entry, server, damage):
    path = fetch(entry)
    good = path.read_bytes()
    middle = len(good) // 2
    changed = good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]
    path.write_bytes({"cut off": good[:-5], "changed": changed, "empty": b""}[damage])
    assert notes_of(entry) == [f"{path}: damaged; tiny-ssv2 is fetched again"]
    assert path.read_bytes() == good
    assert notes_of(entry) == []
    assert len(server.requests) == 2


def test_copied_cache_is_not_fetched_again(entry, server):
    path = fetch(entry)
    os.utime(path, (1, 1))
    assert cache.is_cached(entry)
    fetch(entry)
    assert len(server.requests) == 1


def test_weights_of_another_address_are_not_taken(entry):
    fetch(entry)
    assert not cache.is_cached(dataclasses.replace(entry, url="http://other/tiny.safetensors"))
    assert not cache.is_cached(dataclasses.replace(entry, options={"frames": 8}))


def test_interruption_during_the_conversion_leaves_no_weights(entry, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tanet.checkpoints.pretrained.fetch.write_record", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch(entry)
    assert not cache.is_cached(entry)
    fetch(entry)
    assert cache.is_cached(entry)


def test_web_page_instead_of_weights_is_not_kept(entry, server, home):
    server.files["/tiny.safetensors"] = b"<html>log in first</html>"
    assert "a web page" in error_of(dataclasses.replace(entry, sha256=""))
    assert files(home) == []


def test_other_network_than_the_index_says_is_refused(entry, home):
    assert "174 classes, but 175 are expected" in error_of(dataclasses.replace(entry, classes=175))
    assert files(home) == []


def hold_download(server):
    """Hold the first download until somebody is told to wait. Return its start, the notes, and a callback."""
    began, proceed, notes = threading.Event(), threading.Event(), []

    def hold():
        began.set()
        proceed.wait(5)

    def wait(event):
        if isinstance(event, Note):
            notes.append(event.text)
            proceed.set()

    server.on_chunk = hold
    return began, notes, wait


def test_second_thread_waits_and_takes_the_file_of_the_first(entry, server):
    began, notes, wait = hold_download(server)
    first = threading.Thread(target=fetch, args=(entry,))
    first.start()
    assert began.wait(5)
    path = fetch(entry, on_event=wait)
    first.join()
    assert cache.is_cached(entry)
    assert path.exists()
    assert len(server.requests) == 1
    assert notes == ["tiny-ssv2: waiting for another download (a download by this process)"]


def test_second_process_waits_and_takes_the_file_of_the_first(entry, server):
    code = (
        "import sys, json; from tanet.checkpoints.pretrained.entries import Entry; "
        "from tanet.checkpoints.pretrained.fetch import fetch; print(fetch(Entry(**json.loads(sys.argv[1]))))"
    )
    began, notes, wait = hold_download(server)
    command = [sys.executable, "-c", code, json.dumps(dataclasses.asdict(entry))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert began.wait(60)
        path = fetch(entry, on_event=wait)
        assert first.stdout.read() == f"{path}\n"
    assert len(server.requests) == 1
    assert notes[0].startswith(
        f"tiny-ssv2: waiting for another download (a download by process {first.pid} on "
    )


def test_image_weights_become_torchvisions(server, entry):
    torch.manual_seed(0)
    network = BACKBONES["resnet18_w16"]()
    remove_classifier(network)
    content = io.BytesIO()
    torch.save(network.state_dict(), content)
    server.files["/tiny.pth"] = content.getvalue()
    image = {"kind": "imagenet", "data": "imagenet", "architecture": "resnet18_w16", "sha256": ""}
    entry = dataclasses.replace(entry, url=f"{server.url}/tiny.pth", file="tiny.pth", **image)
    found = safetensors.torch.load_file(fetch(entry))
    assert found.keys() == network.state_dict().keys()
    other = dataclasses.replace(entry, name="other", architecture="resnet18")
    assert "the weights do not fit" in error_of(other)
    assert not cache.cached_path(other).exists()


@pytest.mark.parametrize("kind", ["no space", "no permission"])
def test_error_of_the_disk_is_one_line_with_a_way_out(entry, home, monkeypatch, kind):
    home.parent.mkdir(exist_ok=True)
    if kind == "no space":
        usage = SimpleNamespace(free=1000)
        monkeypatch.setattr("tanet.checkpoints.pretrained.download.shutil.disk_usage", lambda _: usage)
        expected = f"{home}: no space left for the weights: free some, or set TANET_HOME to another folder"
    else:
        home.write_text("a file, so that no folder can be made")
        expected = "make it writable, or set TANET_HOME to another folder"
    assert error_of(entry).endswith(expected)


def test_full_disk_keeps_nothing_half_written(entry, tmp_path, monkeypatch):
    """A real file system of 1 MiB, if this user may mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no permission to mount")
    try:
        monkeypatch.setenv("TANET_HOME", str(folder))
        monkeypatch.setattr("tanet.checkpoints.pretrained.download.SPARE", -(2**30))  # only the disk knows
        (folder / "ballast").write_bytes(bytes(2**20 - 2**16))
        assert "no space left" in error_of(entry)
        assert not cache.is_cached(entry)
        assert not cache.original_path(entry).exists()
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_cache_folder_is_that_of_the_platform(monkeypatch, tmp_path):
    monkeypatch.delenv("TANET_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    for platform, expected in (("linux", tmp_path / "tanet"), ("win32", tmp_path / "tanet")):
        monkeypatch.setattr(sys, "platform", platform)
        assert cache.cache_folder() == expected
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache.cache_folder().parts[-3:] == ("Library", "Caches", "tanet")
    monkeypatch.setenv("TANET_HOME", str(tmp_path / "mine"))
    assert cache.cache_folder() == tmp_path / "mine"

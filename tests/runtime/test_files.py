"""Files are written as a whole; links are followed, and devices and pipes are not replaced."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tanet.errors import UserError
from tanet.runtime.files import check_outputs, write_atomically


def test_symbolic_link_is_followed(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "a.json"
    link.symlink_to(tmp_path / "disk" / "b.json")
    for content in (b"first", b"second"):
        write_atomically(link, content)
        assert (tmp_path / "disk" / "b.json").read_bytes() == content
    assert link.is_symlink()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["b.json"]


def test_pipe_is_written_to_and_stays(tmp_path):
    os.mkfifo(pipe := tmp_path / "pipe")
    found = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, b"values")
    reader.join(timeout=10)
    assert found == [b"values"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
def test_full_device_is_an_error_and_stays():
    with pytest.raises(OSError, match="No space left") as error:
        write_atomically("/dev/full", b"values")
    assert error.value.filename == "/dev/full"
    assert Path("/dev/full").is_char_device()


def test_standard_output_is_written_to(tmp_path):
    code = "from tanet.runtime.files import write_atomically; write_atomically('/dev/stdout', b'values')"
    out = tmp_path / "out.txt"
    with out.open("wb") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert out.read_bytes() == b"values"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert result.stdout == b"values"


def test_outputs_are_checked_before_they_are_written(tmp_path):
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "link").symlink_to(tmp_path / "far" / "b.json")
    check_outputs(None, tmp_path / "new" / "c.json", tmp_path / "a.txt", tmp_path / "link", Path(os.devnull))
    assert (tmp_path / "new").is_dir()
    assert (tmp_path / "far").is_dir()
    assert not list((tmp_path / "new").iterdir())
    for path, message in (
        (tmp_path, "is a folder; give the name of a file"),
        (tmp_path / "a.txt" / "b.json", r"a\.txt: not a folder"),
        (Path("/proc/b.json"), "/proc: cannot be written"),
    ):
        with pytest.raises(UserError, match=message):
            check_outputs(path)


def test_write_protected_file_is_not_replaced(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("a")
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write all files
    with pytest.raises(UserError, match=r"a\.txt: cannot be written; choose another file"):
        check_outputs(tmp_path / "a.txt")


def test_folder_is_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    for folder in (tmp_path, ".", "..", tmp_path / "link"):
        with pytest.raises(IsADirectoryError, match="Is a directory") as error:
            write_atomically(folder, b"values")
        assert error.value.filename == str(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["link"]

"""Files are written as a whole; links are followed, and devices and pipes are not replaced."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tanet.runtime.files import write_atomically


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


def test_folder_is_an_error(tmp_path):
    with pytest.raises(OSError, match="Is a directory") as error:
        write_atomically(tmp_path, b"values")
    assert error.value.filename == str(tmp_path)
    assert not list(tmp_path.iterdir())

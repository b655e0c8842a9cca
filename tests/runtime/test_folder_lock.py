"""Lock of a folder: one process at a time, taken over from a dead process, nothing left behind."""

import signal
import subprocess
import sys

import pytest

from tanet.errors import UserError
from tanet.runtime.folder_lock import lock_folder

HOLD = """
import sys, time
from pathlib import Path
from tanet.runtime.folder_lock import lock_folder
with lock_folder(Path(sys.argv[1]), work="a training"):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Process that holds the lock of tmp_path/out."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_second_process_is_refused_and_told_who_holds_the_lock(holder, tmp_path):
    with (
        pytest.raises(UserError, match=rf"out: in use \(a training by process {holder.pid} on .*\); wait"),
        lock_folder(tmp_path / "out", work="a training"),
    ):
        pass


def test_second_process_waits_if_it_is_asked_to(holder, tmp_path):
    holders = []

    def wait(text):
        holders.append(text)
        holder.kill()

    with lock_folder(tmp_path / "out", work="a training", on_wait=wait):
        assert (tmp_path / "out" / ".lock").exists()
    assert len(holders) == 1
    assert holders[0].startswith(f"a training by process {holder.pid} on ")


def test_lock_of_killed_process_is_taken_over(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "out" / ".lock").exists()
    with lock_folder(tmp_path / "out", work="a training"):
        pass
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_nothing_is_left_behind(tmp_path):
    with lock_folder(tmp_path / "a" / "b", work="a training"):
        assert (tmp_path / "a" / "b" / ".lock").exists()
    assert not (tmp_path / "a").exists()
    with lock_folder(tmp_path / "a" / "b", work="a training"):
        (tmp_path / "a" / "b" / "best").touch()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["best"]


def test_file_in_place_of_the_folder_is_rejected(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match="out: a file"), lock_folder(tmp_path / "out", work="a training"):
        pass

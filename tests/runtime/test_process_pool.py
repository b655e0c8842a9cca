"""`map_files` returns a result for every file, even if some worker processes hang or crash."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tanet.runtime.process_pool import FailedFile, map_files


def act(path):
    """Hang, crash, raise or succeed, depending on the name of the file."""
    if path.name.startswith("hang"):
        time.sleep(100)
    if path.name.startswith("die"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if path.name.startswith("raise"):
        raise MemoryError("too large")
    return os.getpid(), path.name.upper()


def test_every_file_gets_result_despite_hanging_and_crashing_ones(tmp_path):
    names = ["a", "hang", "die", "b", "raise", "c"]
    began = time.monotonic()
    found = dict(map_files(act, [tmp_path / name for name in names], workers=2, limit=1.0))
    assert time.monotonic() - began < 60
    assert {path.name for path in found} == set(names)
    said = {path.name: result for path, result in found.items()}
    good = [said[name] for name in "abc"]
    assert [result[1] for result in good if not isinstance(result, FailedFile)] == list("ABC")
    assert os.getpid() not in {result[0] for result in good if not isinstance(result, FailedFile)}
    assert said["hang"] == FailedFile("hanging", "not done within 1 s")
    assert said["die"] == FailedFile("crashed", "the process that read it died (SIGSEGV)")
    assert said["raise"] == FailedFile("crashed", "MemoryError: too large")


def test_closing_early_leaves_no_process(tmp_path):
    answers = map_files(act, [tmp_path / "a", tmp_path / "hang"], workers=1, limit=100)
    _, result = next(answers)
    answers.close()
    assert not isinstance(result, FailedFile)
    with pytest.raises(ProcessLookupError):
        os.kill(result[0], 0)


def test_empty_list_gives_nothing_and_zero_workers_are_rejected(tmp_path):
    assert list(map_files(act, [], workers=2, limit=1)) == []
    with pytest.raises(ValueError, match="must be positive, not 0 and 1"):
        next(map_files(act, [tmp_path], workers=0, limit=1))


KILLED = """
import os, signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from tanet.runtime.process_pool import end_with_parent

if __name__ == "__main__":
    with ProcessPoolExecutor(1, get_context("spawn"), end_with_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_killed_parent_takes_its_processes_along(tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    # The worker holds the pipe too, so `run` returns only when both processes have ended.
    done = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert int(done.stdout)


STOPPED = """
import os, signal, time
from tanet.runtime.interrupt import exit_on_sigterm
from tanet.runtime.process_pool import map_in_order

if __name__ == "__main__":
    exit_on_sigterm("stopped")
    for done in map_in_order(time.sleep, [0.01] * 1000, workers=2):
        os.kill(os.getpid(), signal.SIGTERM)
        os.killpg(0, signal.SIGTERM)
"""


@pytest.mark.slow
def test_signal_to_whole_group_ends_workers_with_one_line(tmp_path):
    """As `timeout` does: SIGTERM to the process, then to its group."""
    script = tmp_path / "stopped.py"
    script.write_text(STOPPED)
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        start_new_session=True,
    )
    assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, "stopped\n")

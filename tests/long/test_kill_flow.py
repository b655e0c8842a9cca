"""`tanet data flow`, killed ten times and resumed, gives the same files as one full run.

The command is run to its end, with two processes. The same work is then killed ten times (SIGKILL to all
of its processes), each time after it has written some pictures, and resumed from what is left. After each
kill, every folder under its final name must be complete. At the end, the files are exactly those of the
uninterrupted run.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.moving_flow import write_video

pytestmark = pytest.mark.long
pytest.importorskip("cv2")
ROOT = Path(__file__).parents[2]
MOMENTS, VIDEOS = 10, 24


def start(videos: Path, out: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "tanet", "data", "flow", str(videos), str(out), "--workers", "2"]
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)


def contents(out: Path) -> dict[str, bytes]:
    return {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*") if file.is_file()}


def pictures(out: Path) -> int:
    return sum(1 for _ in out.rglob("*.jpg"))


def test_killed_flow_is_resumed_and_equal_to_a_whole_run(tmp_path):
    videos, out, generator = tmp_path / "videos", tmp_path / "killed", random.Random(0)
    frames = {f"v{number}": 20 + number for number in range(VIDEOS)}
    for name, count in frames.items():
        write_video(videos / "verb" / f"{name}.mp4", count)
    assert start(videos, tmp_path / "whole").wait() == 0
    whole = contents(tmp_path / "whole")
    assert len(whole) == 1 + sum(2 * (count - 1) for count in frames.values())
    finished: set[str] = set()
    unfinished = 0
    for _ in range(MOMENTS):
        run, wanted = start(videos, out), generator.randrange(1, 120)
        # A run first removes the unfinished folders of the one before it, so count from what is complete.
        before = sum(2 * (frames[name] - 1) for name in finished)
        while run.poll() is None and pictures(out) < before + wanted:
            time.sleep(0.002)
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        complete = {folder.name for folder in (out / "verb").glob("v*")}
        assert complete >= finished  # nothing is lost
        for name in complete:
            assert len(list((out / "verb" / name).iterdir())) == 2 * (frames[name] - 1)
        finished, unfinished = complete, unfinished + len(list((out / "verb").glob(".v*")))
    assert 0 < len(finished) < VIDEOS
    assert unfinished >= MOMENTS  # most kills hit both processes at work
    assert start(videos, out).wait() == 0
    assert contents(out) == whole

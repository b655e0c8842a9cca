"""arrow6_videos writes each UCF-101 clip forward and reversed, and reports missing clips."""

import sys

import numpy as np
import pytest

from projects.compare import arrow6_videos
from tanet.video import open_video
from tests.support.tiny_videos import make


def run_command(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["arrow6_videos", *map(str, words), "--workers", "1"])
    arrow6_videos.main()


def test_forward_and_reversed_clips_are_written_once(tmp_path, monkeypatch, capsys):
    clips, out = tmp_path / "clips.txt", tmp_path / "out"
    clips.write_text("train/Diving/v_Diving_g08_c01\nval/Diving/v_Diving_g01_c01\n")
    for name in ("v_Diving_g08_c01", "v_Diving_g01_c01"):
        make(tmp_path / "ucf" / "Diving" / f"{name}.avi")
    run_command(monkeypatch, tmp_path / "ucf", out, "--clips", clips)
    pair = [out / "train" / folder / "v_Diving_g08_c01.mp4" for folder in ("Diving", "DivingReversed")]
    forward, backward = (_read_frames(path) for path in pair)
    assert min(forward.shape[1:3]) == arrow6_videos.SHORT_SIDE
    assert np.abs(forward[::-1] - backward).mean() < 4  # the two files were encoded separately
    assert np.abs(forward - backward).mean() > 4
    times = [path.stat().st_mtime_ns for path in pair]
    run_command(monkeypatch, tmp_path / "ucf", out, "--clips", clips)
    assert times == [path.stat().st_mtime_ns for path in pair]
    assert capsys.readouterr().out.splitlines() == 2 * clips.read_text().split()
    assert len(list(out.rglob("*.*"))) == 4


def test_missing_clips_are_reported(tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="294 of 294 clips do not exist; the first is "):
        run_command(monkeypatch, tmp_path, tmp_path / "out")


def _read_frames(path):
    with open_video(path) as video:
        return video.read(range(video.info.frames)).numpy().astype(int)

"""arrow6 from UCF-101: both ways of each clip, one the other reversed, and what is missing is named."""

import sys

import numpy as np
import pytest

from projects.compare import arrow6_videos
from tanet.video import open_video
from tests.support.tiny_videos import make


def made(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["arrow6_videos", *map(str, words), "--workers", "1"])
    arrow6_videos.main()


def test_both_ways_of_each_clip_are_made_once(tmp_path, monkeypatch, capsys):
    clips, out = tmp_path / "clips.txt", tmp_path / "out"
    clips.write_text("train/Diving/v_Diving_g08_c01\nval/Diving/v_Diving_g01_c01\n")
    for name in ("v_Diving_g08_c01", "v_Diving_g01_c01"):
        make(tmp_path / "ucf" / "Diving" / f"{name}.avi")
    made(monkeypatch, tmp_path / "ucf", out, "--clips", clips)
    pair = [out / "train" / folder / "v_Diving_g08_c01.mp4" for folder in ("Diving", "DivingReversed")]
    forward, backward = (_frames(path) for path in pair)
    assert min(forward.shape[1:3]) == arrow6_videos.SHORT_SIDE
    assert np.abs(forward[::-1] - backward).mean() < 4  # each was encoded by itself
    assert np.abs(forward - backward).mean() > 4
    times = [path.stat().st_mtime_ns for path in pair]
    made(monkeypatch, tmp_path / "ucf", out, "--clips", clips)
    assert times == [path.stat().st_mtime_ns for path in pair]
    assert capsys.readouterr().out.splitlines() == 2 * clips.read_text().split()
    assert len(list(out.rglob("*.*"))) == 4


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match="294 of 294 clips are not there, the first: "):
        made(monkeypatch, tmp_path, tmp_path / "out")


def _frames(path):
    with open_video(path) as video:
        return video.read(range(video.info.frames)).numpy().astype(int)

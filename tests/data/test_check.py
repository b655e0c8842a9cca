"""Each way in which a file can be bad has its name; what is merely odd is fine."""

import shutil
import time
from fractions import Fraction
from typing import cast

import av
import numpy as np
import pytest

from tanet.data.tools import check as inspection
from tanet.data.tools.check import check_video, check_videos
from tests.support.tiny_videos import make


def encode(path, *, codec="libx264", frames=24, step=1, height=32, width=48, sound=0.0, options=None):
    """A video of noise; `sound` seconds of silence with it."""
    noise = np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
    with av.open(str(path), "w", options=options or {}) as file:
        stream = cast("av.VideoStream", file.add_stream(codec, rate=24))
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p" if height % 2 == 0 else "yuv444p"
        stream.codec_context.time_base = Fraction(1, 24)
        audio = file.add_stream("aac", rate=8000) if sound else None
        for number, pixels in enumerate(noise):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.time_base = Fraction(1, 24)
            frame.pts = number + (number // 2) * (step - 1)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if audio:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, int(8000 * sound)), np.float32), "fltp", "mono")
            silence.sample_rate, silence.pts = 8000, 0
            file.mux(audio.encode(silence))
            file.mux(audio.encode(None))
    return path


def cut(path, part):
    """The first part of the file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    return path


def seen(path, **asked):
    finding = check_video(path, **{"min_frames": 8, **asked})
    return finding.verdict, finding.cause


def test_a_good_file(tmp_path):
    finding = check_video(make(tmp_path / "a.mp4", frames=12), min_frames=12)
    assert (finding.verdict, finding.cause, finding.usable) == ("ok", "", True)
    assert (finding.promised, finding.frames, finding.fps) == (12, 12, 25.0)
    assert (finding.height, finding.width) == (32, 48)
    assert seen(tmp_path / "a.mp4", min_frames=13) == ("short", "frames: 12, fewer than 13")


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"movflags": "faststart"}),
        ("a.avi", "mpeg4", {}),
        ("a.webm", "libvpx-vp9", {}),
        ("a.mkv", "libx264", {}),
        ("a.flv", "libx264", {}),
    ],
)
def test_a_file_that_was_cut_is_seen_by_what_its_header_promises(tmp_path, name, codec, options):
    path = encode(tmp_path / name, codec=codec, options=options, frames=48)
    assert seen(path) == ("ok", "")
    finding = check_video(cut(path, 0.6), min_frames=1)
    assert finding.verdict == "truncated"
    # What FLV has is a duration, in which the delay of reordered frames counts.
    assert finding.promised == (50 if name == "a.flv" else 48)
    assert finding.frames is not None
    assert 15 < finding.frames < 40
    assert finding.cause == f"{finding.frames} of {finding.promised} frames decode"
    assert not finding.usable


def test_a_cut_file_whose_index_was_at_its_end_can_not_be_opened(tmp_path):
    assert seen(cut(make(tmp_path / "a.mp4"), 0.9))[0] == "unreadable"


def test_sound_that_goes_on_is_no_cut(tmp_path):
    assert seen(encode(tmp_path / "a.mkv", sound=4.0)) == ("ok", "")


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_damage_in_the_middle_is_seen(tmp_path, codec):
    path = encode(tmp_path / "a.avi", codec=codec, frames=48)
    content = bytearray(path.read_bytes())
    for start in range(int(0.5 * len(content)), int(0.6 * len(content)), 50):
        content[start : start + 20] = bytes(20)
    path.write_bytes(bytes(content))
    assert seen(path, min_frames=1)[0] in ("truncated", "unreadable")


def test_folders_of_pictures(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    assert seen(folder) == ("empty", "the folder holds no pictures")
    picture = av.VideoFrame.from_ndarray(np.zeros((32, 48, 3), np.uint8), format="rgb24")
    for number in range(1, 10):
        picture.save(folder / f"{number:05}.png")
    assert seen(folder) == ("ok", "")
    (folder / "00004.png").write_bytes(b"")
    assert seen(folder) == ("unreadable", "00004.png: not a picture")


def test_odd_ones_are_usable(tmp_path):
    assert seen(encode(tmp_path / "vfr.mp4", step=3)) == ("odd", "variable frame rate")
    assert seen(encode(tmp_path / "odd.mkv", height=33, width=49)) == (
        "odd",
        "odd number of pixels (49 × 33)",
    )
    assert check_video(tmp_path / "odd.mkv", min_frames=8).usable


@pytest.mark.parametrize(
    ("name", "verdict", "cause"),
    [
        ("corrupted.mp4", "truncated", "28 of 50 frames decode"),
        ("mp4-with-audio.mp4", "no-video", "no video stream, only sound"),
        ("Mpeg4.mp4", "no-video", "no stream"),
        ("typescript.ts", "empty", "the file is empty"),
        ("WindowsMediaVideo.wmv", "empty", "a video stream without frames"),
        ("FlashVideo.flv", "unreadable", "End of file"),
        ("gif.gif", "unreadable", "no frames"),
        ("video_90.mov", "odd", "rotated by 90°"),
        ("video_0.mov", "ok", ""),
        ("av1_video.mkv", "ok", ""),
        ("h265_10bits.mp4", "ok", ""),
        ("variable_frame_rate.avi", "ok", ""),  # so called; the file stores one rate and says no more
        ("absent.mp4", "unreadable", "no such file or folder"),
    ],
)
def test_real_odd_files(data, name, verdict, cause):
    assert seen(data / "clips" / "odd" / name, min_frames=2) == (verdict, cause)


def test_packets_that_show_nothing_are_no_loss(data):
    """UCF-101 has files with more packets than pictures; nothing is wrong with them."""
    for name in ("JumpRope/v_JumpRope_g10_c04.avi", "Swing/v_Swing_g02_c01.avi"):
        assert seen(data / "decode" / name) == ("ok", "")


def sleep(path, *, min_frames):
    """Hangs at one file."""
    if path.name == "hang.mp4":
        time.sleep(100)
    return check_video(path, min_frames=min_frames)


def test_many_in_processes_and_one_that_hangs(tmp_path, monkeypatch):
    make(tmp_path / "a.mp4")
    for name in ("b", "hang"):
        shutil.copy(tmp_path / "a.mp4", tmp_path / f"{name}.mp4")
    monkeypatch.setattr(inspection, "check_video", sleep)
    findings = check_videos(sorted(tmp_path.iterdir()), workers=2, limit=2.0, min_frames=8)
    assert {finding.path.rpartition("/")[2]: (finding.verdict, finding.cause) for finding in findings} == {
        "a.mp4": ("ok", ""),
        "b.mp4": ("ok", ""),
        "hang.mp4": ("hanging", "not done within 2 s"),
    }

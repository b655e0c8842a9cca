"""`check_video` gives each kind of bad file its own verdict; odd but usable files pass."""

import shutil
import time
from fractions import Fraction
from typing import cast

import av
import numpy as np
import pytest

from tanet.data.tools import check as inspection
from tanet.data.tools.check import check_video, check_videos
from tests.support.fork_server import quick_pool as quick_pool
from tests.support.tiny_videos import make


def encode(path, *, codec="libx264", frames=24, step=1, height=32, width=48, sound=0.0, options=None):
    """Encode a video of noise with `sound` seconds of silent audio. With step > 1 the frame rate varies."""
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


def truncate(path, part):
    """Keep only the first `part` (0 to 1) of the file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    return path


def verdict_and_cause(path, **asked):
    finding = check_video(path, **{"min_frames": 8, **asked})
    return finding.verdict, finding.cause


def test_good_file_is_ok_and_short_file_is_not(tmp_path):
    finding = check_video(make(tmp_path / "a.mp4", frames=12), min_frames=12)
    assert (finding.verdict, finding.cause, finding.usable) == ("ok", "", True)
    assert (finding.promised, finding.frames, finding.fps) == (12, 12, 25.0)
    assert (finding.height, finding.width) == (32, 48)
    assert verdict_and_cause(tmp_path / "a.mp4", min_frames=13) == ("short", "frames: 12, fewer than 13")


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
def test_truncated_file_has_fewer_frames_than_its_header_states(tmp_path, name, codec, options):
    path = encode(tmp_path / name, codec=codec, options=options, frames=48)
    assert verdict_and_cause(path) == ("ok", "")
    finding = check_video(truncate(path, 0.6), min_frames=1)
    assert finding.verdict == "truncated"
    # FLV stores only a duration, which includes the delay of reordered frames.
    assert finding.promised == (50 if name == "a.flv" else 48)
    assert finding.frames is not None
    assert 15 < finding.frames < 40
    assert finding.cause == f"{finding.frames} of {finding.promised} frames decode"
    assert not finding.usable


def test_file_without_index_at_its_end_is_unreadable(tmp_path):
    assert verdict_and_cause(truncate(make(tmp_path / "a.mp4"), 0.9))[0] == "unreadable"


def test_longer_sound_is_not_truncation(tmp_path):
    assert verdict_and_cause(encode(tmp_path / "a.mkv", sound=4.0)) == ("ok", "")


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_damage_in_the_middle_is_found(tmp_path, codec):
    path = encode(tmp_path / "a.avi", codec=codec, frames=48)
    content = bytearray(path.read_bytes())
    for start in range(int(0.5 * len(content)), int(0.6 * len(content)), 50):
        content[start : start + 20] = bytes(20)
    path.write_bytes(bytes(content))
    assert verdict_and_cause(path, min_frames=1)[0] in ("truncated", "unreadable")


def test_folders_of_images_are_checked(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    assert verdict_and_cause(folder) == ("empty", "the folder holds no pictures")
    picture = av.VideoFrame.from_ndarray(np.zeros((32, 48, 3), np.uint8), format="rgb24")
    for number in range(1, 10):
        picture.save(folder / f"{number:05}.png")
    assert verdict_and_cause(folder) == ("ok", "")
    (folder / "00004.png").write_bytes(b"")
    assert verdict_and_cause(folder) == ("unreadable", "00004.png: not a picture")


def test_odd_videos_are_usable(tmp_path):
    assert verdict_and_cause(encode(tmp_path / "vfr.mp4", step=3)) == ("odd", "variable frame rate")
    assert verdict_and_cause(encode(tmp_path / "odd.mkv", height=33, width=49)) == (
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
        ("variable_frame_rate.avi", "ok", ""),  # despite its name, the file stores a single rate
        ("absent.mp4", "unreadable", "no such file or folder"),
    ],
)
def test_real_odd_files_get_expected_verdict(data, name, verdict, cause):
    assert verdict_and_cause(data / "clips" / "odd" / name, min_frames=2) == (verdict, cause)


def test_packets_without_frame_are_not_missing_frames(data):
    """Some valid files of UCF-101 have more packets than frames."""
    for name in ("JumpRope/v_JumpRope_g10_c04.avi", "Swing/v_Swing_g02_c01.avi"):
        assert verdict_and_cause(data / "decode" / name) == ("ok", "")


def check_or_hang(path, *, min_frames):
    """Replace `check_video` by a version that hangs on hang.mp4."""
    if path.name == "hang.mp4":
        time.sleep(100)
    return check_video(path, min_frames=min_frames)


def test_worker_processes_report_hanging_file(tmp_path, monkeypatch):
    make(tmp_path / "a.mp4")
    for name in ("b", "hang"):
        shutil.copy(tmp_path / "a.mp4", tmp_path / f"{name}.mp4")
    monkeypatch.setattr(inspection, "check_video", check_or_hang)
    findings = check_videos(sorted(tmp_path.iterdir()), workers=2, limit=2.0, min_frames=8)
    assert {finding.path.rpartition("/")[2]: (finding.verdict, finding.cause) for finding in findings} == {
        "a.mp4": ("ok", ""),
        "b.mp4": ("ok", ""),
        "hang.mp4": ("hanging", "not done within 2 s"),
    }

"""Frames come one by one in one pass, and their times are those of the file, also at a variable rate."""

from contextlib import suppress
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from tanet.video import FrameArray, VideoError, open_video
from tests.support.encoded_videos import CLIPS, X264, draw_frame, encode

VARIABLE = [0, 1, 2, 5, 6, 7, 8, 20, 21, 30]


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001)])
@pytest.mark.parametrize("name", ["groups_of_12.mp4", "no_b_frames.mkv", "h264.avi"])
def test_times_of_a_constant_rate(rate, name, tmp_path):
    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={**X264, "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 104, 72, "yuv420p"
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(draw_frame(number), format="rgb24")
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with open_video(path) as video:
        assert video.times() == pytest.approx(np.arange(30) / float(rate), abs=1e-3)  # mkv counts in ms


@pytest.mark.parametrize("name", ["variable.mp4", "variable.mkv"])
def test_times_of_a_variable_rate(name, tmp_path):
    path = encode(tmp_path / name, "libx264", 12, {**X264, "bf": "2"}, times=VARIABLE)
    with open_video(path) as video:
        assert video.times() == pytest.approx(np.array(VARIABLE) / 25, abs=1e-3)


@pytest.mark.parametrize("name", ["one_group.mp4", "open_groups.mkv", "h264.ts", "ucf.avi", "vp9.webm"])
def test_iterated_frames_are_those_that_are_read(name, tmp_path):
    path = encode(tmp_path / name, *CLIPS[name])
    numbers = [0, 1, 5, 17, 18, 40, 59]
    with open_video(path) as video:
        found = list(video.iterate(numbers))
        assert [number for number, _ in found] == numbers
        assert torch.equal(torch.stack([picture for _, picture in found]), video.read(numbers))
        with pytest.raises(ValueError, match="must ascend"):
            next(video.iterate([3, 3]))


def test_frames_of_arrays_are_iterated():
    frames = torch.randint(0, 255, (6, 8, 10, 3), dtype=torch.uint8)
    video = FrameArray(frames)
    assert all(torch.equal(picture, frames[number]) for number, picture in video.iterate([1, 4]))
    assert video.times().tolist() == [number / 30 for number in range(6)]


def test_frames_before_damage_are_yielded(tmp_path):
    path = encode(tmp_path / "cut.mkv", "libx264", 12, {**X264, "bf": "0"})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with open_video(path) as video:
        promised, found = video.frames, []
        with suppress(VideoError):
            for number, _ in video.iterate(range(promised)):
                found.append(number)
        assert found == list(range(len(found)))
        assert len(found) >= 10

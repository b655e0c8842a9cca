"""The views of a whole video contain the frames that they should, in order."""

import numpy as np
import pytest

from tanet.data.dataset import EvalClips
from tanet.data.samples import Sample
from tanet.data.views import read_views
from tanet.recipes.recipe import Data, Eval
from tanet.video import FrameArray
from tests.support.tiny_videos import make

WHOLE = Eval(clips=1, crops=1, resize=8, size=8, frames=12)


def numbered_video(frames, fps=None):
    """Make a video of 8 × 8 pixels; all pixels of a frame are its number."""
    numbers = np.arange(frames, dtype=np.uint8)[:, None, None, None]
    video = FrameArray(np.broadcast_to(numbers, (frames, 8, 8, 3)).copy())
    video.fps = fps
    return video


def numbers_of(views):
    """Return the frame numbers of all views, [V·crops, T]."""
    assert (views == views[..., :1, :1, :1]).all()
    return views[:, :, 0, 0, 0].tolist()


@pytest.mark.parametrize("sampling", ["uniform", "dense"])
@pytest.mark.parametrize("rate", ["video", "30fps"])
def test_eval_frames_tests_whole_videos(sampling, rate):
    data = Data(sampling=sampling, window=64, rate=rate)

    def tested(frames, **rest):
        video = numbered_video(frames, fps=15.0)
        return numbers_of(read_views(video, frames=4, data=data, eval=WHOLE, **rest))

    assert tested(9) == [[*range(9)]]  # no frame twice
    assert tested(12) == [[*range(12)]]
    assert tested(20) == [[*range(4, 16)]]  # the middle: (1 + 20 - 12) // 2 = 4
    assert tested(20, count=7) == [[*range(7)]]
    assert tested(1) == [[0]]


def test_eval_frames_may_have_several_clips():
    eval = Eval(clips=3, crops=1, resize=8, size=8, frames=12)
    views = read_views(numbered_video(20), frames=4, data=Data(), eval=eval)
    assert numbers_of(views) == [[*range(12)], [*range(4, 16)], [*range(8, 20)]]


def test_frame_rate_of_video_sets_length_of_clips():
    data = Data(sampling="dense", window=16, rate="30fps")
    eval = Eval(clips=2, crops=1, resize=8, size=8, style="pyslowfast")
    found = {
        fps: numbers_of(read_views(numbered_video(40, fps), frames=4, data=data, eval=eval))
        for fps in (15.0, 30.0, None)
    }
    # 8 or 16 frames: starts 0 and 32/2, or 0 and 24/2; steps of 7/3 or 5
    assert found[15.0] == [[0, 2, 4, 7], [16, 18, 20, 23]]
    assert found[30.0] == found[None] == [[0, 5, 10, 15], [12, 17, 22, 27]]


def test_dataset_reads_whole_videos(tmp_path):
    samples = [Sample(str(make(tmp_path / f"{n}.mp4", frames=n)), 0) for n in (6, 15)]
    clips = EvalClips([*samples, Sample(samples[1].path, 0, 5)], Data(workers=0), WHOLE, frames=4)
    assert [clips[number][0].shape for number in range(3)] == [
        (1, 6, 3, 8, 8),
        (1, 12, 3, 8, 8),
        (1, 5, 3, 8, 8),
    ]


def test_clips_of_a_test_may_have_another_length(monkeypatch):
    seen = []
    frames = np.zeros((40, 24, 24, 3), dtype=np.uint8)
    video = FrameArray(frames)
    read = video.read
    monkeypatch.setattr(video, "read", lambda indices: seen.append(indices) or read(indices))
    eval = Eval(resize=24, size=24, clip_frames=10)
    assert read_views(video, frames=4, data=Data(sampling="uniform"), eval=eval).shape[1] == 10
    assert np.array_equal(seen[-1][0], np.arange(10) * 4 + 2)
    # In dense clips, frames stay as far apart as in training: 3.
    read_views(video, frames=4, data=Data(sampling="dense", window=12), eval=eval)
    assert set(np.diff(seen[-1][0])) == {3}

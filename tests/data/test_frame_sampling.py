"""Sampled frame numbers match values worked out by hand from the rules; random draws stay in their bounds."""

import numpy as np
import pytest

from tanet.data import frame_sampling


def middle_frames(n, frames, how):
    return frame_sampling.middle_indices(n, frames=frames, sampling=how).tolist()


def eval_frames(n, frames, clips, how):
    return frame_sampling.eval_indices(n, frames=frames, clips=clips, sampling=how).tolist()


def test_dense_middle_clip():
    # (1 + 300 - 64) // 2 = 118
    assert middle_frames(300, 8, "dense") == [118, 126, 134, 142, 150, 158, 166, 174]
    assert middle_frames(64, 8, "dense") == [0, 8, 16, 24, 32, 40, 48, 56]
    # Wraps around at the end of the video.
    assert middle_frames(20, 8, "dense") == [0, 8, 16, 4, 12, 0, 8, 16]
    assert middle_frames(66, 16, "dense") == [1, 5, 9, 13, 17, 21, 25, 29, 33, 37, 41, 45, 49, 53, 57, 61]


def test_dense_evaluation_clips():
    starts = [clip[0] for clip in eval_frames(300, 8, 10, "dense")]
    assert starts == [0, 26, 52, 78, 104, 131, 157, 183, 209, 236]  # 0 … 236 in nine steps of 26.2
    assert eval_frames(300, 8, 1, "dense") == [middle_frames(300, 8, "dense")]
    assert eval_frames(30, 8, 2, "dense") == [[0, 8, 16, 24, 2, 10, 18, 26]] * 2
    assert eval_frames(70, 4, 3, "dense") == [[0, 16, 32, 48], [3, 19, 35, 51], [6, 22, 38, 54]]


def test_uniform_middle_clip():
    assert middle_frames(80, 8, "uniform") == [5, 15, 25, 35, 45, 55, 65, 75]
    assert middle_frames(30, 8, "uniform") == [1, 5, 9, 13, 16, 20, 24, 28]  # 3.75/2 + 3.75 i
    assert middle_frames(5, 8, "uniform") == [0, 0, 1, 2, 2, 3, 4, 4]
    assert middle_frames(1, 8, "uniform") == [0] * 8


def test_uniform_evaluation_clips():
    assert eval_frames(80, 8, 2, "uniform") == [
        [0, 10, 20, 30, 40, 50, 60, 70],
        [9, 19, 29, 39, 49, 59, 69, 79],
    ]
    assert eval_frames(30, 4, 3, "uniform") == [[0, 7, 15, 22], [3, 10, 18, 25], [6, 13, 21, 28]]
    assert eval_frames(3, 8, 2, "uniform") == [[0, 0, 0, 1, 1, 1, 2, 2]] * 2
    assert eval_frames(80, 8, 1, "uniform") == [middle_frames(80, 8, "uniform")]


def draw_train_frames(n, frames, how, count=2000):
    generator = np.random.default_rng(0)
    return np.stack(
        [
            frame_sampling.train_indices(n, frames=frames, sampling=how, generator=generator)
            for _ in range(count)
        ]
    )


def test_dense_training_draws_every_start_except_last():
    drawn = draw_train_frames(70, 8, "dense")
    assert set(drawn[:, 0]) == set(range(6))  # p = 7 starts, uniform in [0, 6)
    assert (drawn - drawn[:, :1] == np.arange(8) * 8).all()
    assert (draw_train_frames(64, 8, "dense", count=5) == np.arange(8) * 8).all()
    assert (draw_train_frames(10, 8, "dense", count=5) == [0, 8, 6, 4, 2, 0, 8, 6]).all()


def test_uniform_training_draws_one_frame_per_segment():
    drawn = draw_train_frames(43, 8, "uniform")  # segments of 5 frames
    for i in range(8):
        assert set(drawn[:, i]) == set(range(5 * i, 5 * i + 5))
    assert (draw_train_frames(5, 8, "uniform", count=3) == 0).all()  # the video is shorter than the clip


@pytest.mark.parametrize("how", ["dense", "uniform"])
@pytest.mark.parametrize("n", [1, 2, 7, 8, 63, 64, 65, 1000])
def test_indices_are_within_video(how, n):
    generator = np.random.default_rng(n)
    for frames in (1, 8, 16):
        train = frame_sampling.train_indices(n, frames=frames, sampling=how, generator=generator)
        test = frame_sampling.eval_indices(n, frames=frames, clips=7, sampling=how)
        assert train.shape == (frames,)
        assert test.shape == (7, frames)
        for indices in (train, test, np.array(middle_frames(n, frames, how))):
            assert indices.dtype == np.int64
            assert ((indices >= 0) & (indices < n)).all()


def test_unusable_numbers_of_frames_are_rejected():
    with pytest.raises(ValueError, match="must be at least 1"):
        frame_sampling.middle_indices(0, frames=8, sampling="uniform")
    with pytest.raises(ValueError, match="do not fit into a window"):
        frame_sampling.middle_indices(100, frames=65, sampling="dense")

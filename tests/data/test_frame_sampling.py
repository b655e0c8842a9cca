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


def draw_train_frames(n, frames, how, count=2000, **rules):
    generator = np.random.default_rng(0)
    return np.stack(
        [
            frame_sampling.train_indices(n, frames=frames, sampling=how, generator=generator, **rules)
            for _ in range(count)
        ]
    )


def test_dense_training_draws_every_start_except_last():
    drawn = draw_train_frames(70, 8, "dense")
    assert set(drawn[:, 0]) == set(range(6))  # p = 7 starts, uniform in [0, 6)
    assert (drawn - drawn[:, :1] == np.arange(8) * 8).all()
    assert (draw_train_frames(64, 8, "dense", count=5) == np.arange(8) * 8).all()
    assert (draw_train_frames(10, 8, "dense", count=5) == [0, 8, 6, 4, 2, 0, 8, 6]).all()


def test_published_training_draws_one_frame_per_whole_segment():
    drawn = draw_train_frames(43, 8, "uniform", segments="published")  # segments of 5 frames
    for i in range(8):
        assert set(drawn[:, i]) == set(range(5 * i, 5 * i + 5))
    # The video is shorter than the clip.
    assert (draw_train_frames(5, 8, "uniform", count=3, segments="published") == 0).all()
    spread = draw_train_frames(5, 8, "uniform", count=3, segments="mmaction2")
    assert (spread == [0, 1, 1, 2, 2, 3, 4, 4]).all()  # np.around rounds 2.5 down


def test_training_covers_the_whole_video():
    drawn = draw_train_frames(43, 8, "uniform")  # segments of 5.375 frames
    for i in range(8):
        first, last = int(5.375 * i), int(5.375 * (i + 1) - 1e-9)
        assert set(drawn[:, i]) == set(range(first, last + 1))
    counts = np.bincount(draw_train_frames(43, 8, "uniform", count=20_000).ravel(), minlength=43)
    assert counts.min() > 0.95 * counts.mean()  # each frame is drawn equally often


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 8, 9, 12, 15, 16, 17, 23])
@pytest.mark.parametrize("frames", [4, 8, 16])
def test_short_videos_are_sampled_in_training_as_in_testing(n, frames):
    """The clips of a training average to the clip of a test, in order, also below T frames."""
    drawn = draw_train_frames(n, frames, "uniform", count=4000)
    assert (np.diff(drawn, axis=1) >= 0).all()
    assert drawn.max() == n - 1
    assert drawn.min() == 0
    tick = n / frames
    middle = np.array(middle_frames(n, frames, "uniform"))
    assert np.abs(drawn.mean(0) - middle).max() <= max(0.5, tick / 2)
    seen = set(map(tuple, drawn.tolist()))
    if n ** min(frames, n) < 400:
        assert tuple(middle.tolist()) in seen


# Rules of other codebases, written from their definitions.


def published_uniform(n, frames, clips):
    tick = n / frames
    if clips == 1:
        return [[int(tick / 2.0 + tick * x) for x in range(frames)]]
    starts = np.linspace(0, tick - 1, num=clips).astype(int)
    return [[int(start + tick * x) % n for x in range(frames)] for start in starts]


def tsm_twice(n, frames):
    tick = n / frames
    return [[int(tick / 2.0 + tick * x) for x in range(frames)], [int(tick * x) for x in range(frames)]]


def mmaction2_twice(n, frames):
    interval = n / float(frames)
    base = np.arange(frames) * interval
    return np.stack([base + interval / 2.0, base]).astype(np.int32).tolist()


def dense_windows(n, frames, starts):
    stride = 64 // frames
    return [[(start + x * stride) % n for x in range(frames)] for start in starts]


@pytest.mark.parametrize("frames", [4, 8, 10, 16])
def test_index_tables_of_other_code_are_equal(frames):
    def ours(n, clips, how, style):
        found = frame_sampling.eval_indices(n, frames=frames, clips=clips, sampling=how, style=style)
        return found.tolist()

    for n in range(1, 401):
        positions = max(1, 1 + n - 64)
        for clips in (1, 2):
            assert ours(n, clips, "uniform", "published") == published_uniform(n, frames, clips), n
        assert ours(n, 1, "uniform", "tsm") == tsm_twice(n, frames)[:1]
        assert ours(n, 2, "uniform", "tsm") == tsm_twice(n, frames)
        assert ours(n, 1, "uniform", "mmaction2") == mmaction2_twice(n, frames)[:1]
        assert ours(n, 2, "uniform", "mmaction2") == mmaction2_twice(n, frames)
        ten = np.linspace(0, positions - 1, num=10, dtype=int).tolist()
        for style in ("published", "tsm", "mmaction2"):
            assert ours(n, 10, "dense", style) == dense_windows(n, frames, ten)
        assert ours(n, 1, "dense", "published") == dense_windows(n, frames, [positions // 2])
        assert ours(n, 1, "dense", "mmaction2") == dense_windows(n, frames, [0])


@pytest.mark.parametrize("frames", [4, 8, 16])
def test_training_tables_of_other_code_are_equal(frames):
    """Drawn with the same random numbers, training clips equal those of the rules written here."""
    for n in range(1, 401):
        own, other = np.random.default_rng(n), np.random.default_rng(n)
        for segments in ("published", "mmaction2"):
            drawn = frame_sampling.train_indices(
                n, frames=frames, sampling="uniform", generator=own, segments=segments
            )
            duration = n // frames
            if duration > 0:
                expected = np.arange(frames) * duration + other.integers(duration, size=frames)
            elif segments == "mmaction2":
                expected = np.around(np.arange(frames) * (n / frames)).astype(int)
            else:
                expected = np.zeros(frames, int)
            assert drawn.tolist() == expected.tolist(), n


def test_more_than_two_uniform_clips_of_twice_sampling_are_rejected():
    with pytest.raises(ValueError, match=r"eval\.style tsm has 1 or 2 uniform clips, not 3"):
        frame_sampling.eval_indices(80, frames=8, clips=3, sampling="uniform", style="tsm")


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


# PySlowFast's rules. The tables are worked out by hand: start s, length w, then ⌊s + i (w - 1) / (T - 1)⌋.


def pyslowfast_clips(n, fps, *, frames=8, window=64, clips=10, style="pyslowfast"):
    return frame_sampling.eval_indices(
        *(n,),
        **{"frames": frames, "clips": clips, "window": window, "style": style},
        **{"sampling": "dense", "rate": "30fps", "fps": fps},
    ).tolist()


def test_pyslowfast_clips_at_30_fps():
    # w = 64: starts 0, 23.6, 47.2 …, steps of 9
    assert pyslowfast_clips(300, 30.0) == [
        [0, 9, 18, 27, 36, 45, 54, 63],
        [23, 32, 41, 50, 59, 68, 77, 86],
        [47, 56, 65, 74, 83, 92, 101, 110],
        [70, 79, 88, 97, 106, 115, 124, 133],
        [94, 103, 112, 121, 130, 139, 148, 157],
        [118, 127, 136, 145, 154, 163, 172, 181],
        [141, 150, 159, 168, 177, 186, 195, 204],
        [165, 174, 183, 192, 201, 210, 219, 228],
        [188, 197, 206, 215, 224, 233, 242, 251],
        [212, 221, 230, 239, 248, 257, 266, 275],
    ]


def test_pyslowfast_clips_at_25_fps():
    # w = 48 · 25/30 = 40: starts 0, 70, 140, steps of 13
    assert pyslowfast_clips(250, 25.0, frames=4, window=48, clips=3) == [
        [0, 13, 26, 39],
        [70, 83, 96, 109],
        [140, 153, 166, 179],
    ]
    # w = 53 1/3: starts 0, 19 2/3, 39 1/3, 59 …, steps of 7.476. Clip 1 ends at frame 19 2/3 + 52 1/3 = 72.
    assert pyslowfast_clips(250, 25.0)[:4] == [
        [0, 7, 14, 22, 29, 37, 44, 52],
        [19, 27, 34, 42, 49, 57, 64, 72],
        [39, 46, 54, 61, 69, 76, 84, 91],
        [59, 66, 73, 81, 88, 96, 103, 111],
    ]


def test_pyslowfast_clips_of_unknown_frame_rate():
    # As at 30 fps. w = 32: starts 0, 34, steps of 10 1/3
    table = [[0, 10, 20, 31], [34, 44, 54, 65]]
    assert pyslowfast_clips(100, None, frames=4, window=32, clips=2) == table
    assert pyslowfast_clips(100, 30.0, frames=4, window=32, clips=2) == table
    assert pyslowfast_clips(100, 60.0, frames=4, window=32, clips=1) == [[18, 39, 60, 81]]  # w = 64


def test_last_frame_of_short_video_is_repeated_at_30fps():
    assert pyslowfast_clips(20, 30.0, clips=2) == [[0, 9, 18, 19, 19, 19, 19, 19]] * 2
    drawn = draw_train_frames(20, 8, "dense", count=3, rate="30fps", fps=30.0)
    assert (drawn == [0, 9, 18, 19, 19, 19, 19, 19]).all()


def test_other_styles_place_clips_of_30fps_over_the_whole_video():
    starts = [clip[0] for clip in pyslowfast_clips(300, None, clips=3, style="tanet")]
    assert starts == [0, 118, 236]
    assert pyslowfast_clips(300, None, clips=1, style="tanet")[0][0] == 118  # the middle clip
    assert pyslowfast_clips(300, None, clips=1, style="mmaction2")[0][0] == 0


def test_pyslowfast_style_places_clips_of_frames():
    def starts(clips):
        rules = {"sampling": "dense", "style": "pyslowfast"}
        found = frame_sampling.eval_indices(300, frames=8, clips=clips, **rules)
        assert (found - found[:, :1] == np.arange(8) * 8).all()
        return found[:, 0].tolist()

    assert starts(10) == [0, 23, 47, 70, 94, 118, 141, 165, 188, 212]
    assert starts(1) == [118]


def test_training_at_30fps_draws_fractional_starts():
    # w = 53 1/3: starts from 0 to 196 2/3. The distance of two frames is 7.476.
    drawn = draw_train_frames(250, 8, "dense", count=20_000, rate="30fps", fps=25.0)
    assert set(drawn[:, 0]) == set(range(197))
    assert drawn.max() == 248  # ⌊196 2/3 + 52 1/3⌋ is 249, but a start of exactly 196 2/3 is never drawn
    assert set(np.diff(drawn, axis=1).ravel()) == {7, 8}
    assert abs(np.diff(drawn, axis=1).mean() - 52.333 / 7) < 0.01
    assert abs(drawn[:, 0].mean() + 0.5 - 196.667 / 2) < 2
    again = draw_train_frames(250, 8, "dense", count=50, rate="30fps", fps=25.0)
    assert (again == drawn[:50]).all()


def test_shared_segments_have_one_random_offset():
    generator = np.random.default_rng(0)
    starts = set()
    for _ in range(20):
        found = frame_sampling.train_indices(
            43, frames=8, sampling="uniform", generator=generator, segments="shared"
        )
        assert set(np.diff(found)) == {5}  # 43 // 8
        starts.add(int(found[0]))
    assert starts == {0, 1, 2, 3, 4}

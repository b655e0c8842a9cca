"""Synthetic clips show their verb, paired verbs are time reversals, and files contain the drawn frames."""

import json
from dataclasses import replace

import av
import numpy as np
import pytest

from tanet import synthetic
from tanet.cli import main
from tanet.demo import run as demo
from tanet.synthetic import HARD, PAIRS, VERBS, Difficulty, make_dataset, render, tracks, write_video

BARE = Difficulty(camera=0, speed=0, distractors=0, noise=0, light=0)
SEEDS = range(5)


def draw(verb, seed, *, frames=32, difficulty=synthetic.DEFAULT):
    return render(verb, frames=frames, difficulty=difficulty, generator=np.random.default_rng(seed))


def object_mask(verb, seed, *, speed=0):
    """Return the mask [T, H, W] of the object: the pixels that differ from the same scene without it."""
    empty = draw("appear", seed, frames=2, difficulty=BARE)[0].astype(int)
    return np.abs(draw(verb, seed, difficulty=replace(BARE, speed=speed)) - empty).max(axis=-1) > 16


def centers(masks):
    return np.array([[axis.mean() for axis in np.nonzero(mask)] for mask in masks])  # [T, (y, x)]


def headings(masks):
    """Return the angle of the long axis per frame: counter-clockwise, modulo π, unwrapped over the clip."""
    angles = []
    for mask in masks:
        y, x = np.nonzero(mask)
        spread = np.cov(x, -y)
        angles.append(0.5 * np.arctan2(2 * spread[0, 1], spread[0, 0] - spread[1, 1]))
    return np.unwrap(angles, period=np.pi)


def decode(path):
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


@pytest.mark.parametrize("pair", PAIRS, ids="/".join)
def test_paired_verbs_have_same_frames_in_reverse(pair):
    hardest = Difficulty(camera=1, speed=1, tempo=2, activity=1, distractors=3, noise=0.05, light=0.2)
    for difficulty in (BARE, synthetic.DEFAULT, HARD, hardest):
        forward, backward = (draw(verb, 5, frames=9, difficulty=difficulty) for verb in pair)
        assert np.array_equal(backward, forward[::-1])
        assert not np.array_equal(backward, forward)


def test_clip_depends_on_generator():
    assert np.array_equal(draw("approach", 1), draw("approach", 1))
    assert not np.array_equal(draw("approach", 1), draw("approach", 2))
    assert draw("approach", 1).shape == (32, 96, 128, 3)
    assert draw("approach", 1).dtype == np.uint8


@pytest.mark.parametrize(
    ("difficulty", "wanted"),
    [
        (Difficulty(), (3.1, 3.4, 3.5, -8.9, -28.9, -4.4, 4.1, 9.2, -3.7, 9.9)),
        (demo.DIFFICULTY, (0.1, 3.4, -2.4, 1.7, 1.8, -6.7, -2.3, 22.2, -12.0, -10.2)),
        (
            Difficulty(camera=0.3, speed=1, distractors=3, noise=0.05, light=0.2),
            (-2.1, 15.1, 11.0, -22.5, -26.8, -1.6, -9.0, 48.7, 4.8, 1.5),
        ),
    ],
)
def test_clips_match_recorded_checksums(difficulty, wanted):
    found = []
    for seed, verb in enumerate(VERBS):
        generator = np.random.default_rng(seed)
        clip = render(verb, frames=9, height=48, width=64, difficulty=difficulty, generator=generator)
        # This weighted sum differs between clips, but tolerates pixels that another CPU rounds differently.
        found.append((clip.ravel() * (np.arange(clip.size) * 7919 % 1009 - 504)).mean())
    assert np.allclose(found, wanted, atol=0.2)


def test_tempo_adds_pauses_before_and_after_verb():
    times, generator = np.linspace(0, 1, 41), np.random.default_rng(0)
    drawn = [tracks.progress(times, Difficulty(tempo=1.5), generator) for _ in range(2000)]
    lasts = np.array([((come > 0) & (come < 1)).mean() for come in drawn])
    assert 0.15 < lasts.min() < 0.3  # e^-1.5 is 0.22
    assert lasts.max() > 0.9
    assert all(come[0] == 0 and come[-1] == 1 and (np.diff(come) >= 0).all() for come in drawn)
    before, after = (np.array([(come == end).mean() for come in drawn]) for end in (0, 1))
    # Equal pauses before and after, so reversing time gives the same distribution.
    assert abs(before.mean() - after.mean()) < 0.02


@pytest.mark.parametrize(
    ("verb", "kept"), [("move_left", 0), ("move_up", 1), ("approach", 2), ("turn_left", 3)]
)
def test_activity_keeps_motion_of_verb(verb, kept):
    times, pan = np.linspace(0, 1, 33), np.zeros((2, 33))
    for seed in SEEDS:
        calm, busy = (
            tracks.act(verb, times, pan, (96, 128), Difficulty(activity=dial), np.random.default_rng(seed))
            for dial in (0, 1)
        )
        # The motion of the verb is unchanged, up to an offset; the other motions change.
        own = np.diff(busy[kept]) - np.diff(calm[kept])
        assert np.abs(own).max() < 1e-6
        others = [i for i in range(4) if i != kept]
        assert all(np.ptp(busy[i] - calm[i]) > 0.1 for i in others)


def test_background_motion_is_symmetric_in_time():
    times, generator = np.linspace(0, 1, 33), np.random.default_rng(0)
    pace = np.array([np.diff(tracks.progress(times, Difficulty(speed=1.0), generator)) for _ in range(4000)])
    path = np.array([tracks.wander(times, generator) for _ in range(4000)])
    for sample, spread in ((pace, pace.std()), (path, path.std())):
        backwards = sample[:, ::-1]
        assert np.abs(sample.mean(0) - backwards.mean(0)).max() < 0.1 * spread
        assert np.abs(sample.std(0) - backwards.std(0)).max() < 0.1 * spread
    drift = path[:, -1] - path[:, 0]
    assert abs(drift.mean()) < 0.1 * drift.std()


@pytest.mark.parametrize(
    ("verb", "axis", "sign"),
    [("move_left", 1, -1), ("move_right", 1, 1), ("move_up", 0, -1), ("move_down", 0, 1)],
)
def test_moves_have_their_direction(verb, axis, sign):
    for seed in SEEDS:
        moved = centers(object_mask(verb, seed))[[0, -1]]
        way = sign * (moved[1] - moved[0])
        assert 96 / 3 < way[axis] < 96
        assert abs(way[1 - axis]) < way[axis] / 2


@pytest.mark.parametrize(("verb", "sign"), [("approach", 1), ("recede", -1)])
def test_approach_grows_and_recede_shrinks(verb, sign):
    for seed in SEEDS:
        area = object_mask(verb, seed).sum(axis=(1, 2))[::sign]
        assert area[-1] > 1.8**2 * area[0]
        assert area[0] > 100  # the object is visible at its smallest


@pytest.mark.parametrize(("verb", "sign"), [("turn_left", 1), ("turn_right", -1)])
def test_turns_have_their_direction(verb, sign):
    for seed in SEEDS:
        angle = sign * np.degrees(headings(object_mask(verb, seed)))
        assert 85 < angle[-1] - angle[0] < 155
        # At the most uneven speed, eight frames of a clip differ by less than 50° (90° would be ambiguous).
        uneven = np.degrees(headings(object_mask(verb, seed, speed=1)))
        assert np.abs(np.diff(uneven[2::4])).max() < 50


@pytest.mark.parametrize(("verb", "order"), [("appear", 1), ("vanish", -1)])
def test_objects_appear_and_vanish(verb, order):
    for seed in SEEDS:
        area = object_mask(verb, seed).sum(axis=(1, 2))[::order]
        assert area[0] == 0
        assert area[-1] > 300
        assert area[16] > 100


def test_each_difficulty_setting_changes_frames():
    still = draw("move_left", 3, difficulty=BARE)
    for dial in ({"tempo": 0.5}, {"activity": 0.2}):
        assert not np.array_equal(draw("move_left", 3, difficulty=replace(BARE, **dial)), still), dial
    for dial in ({"camera": 0.1}, {"speed": 0.5}, {"distractors": 1}, {"noise": 0.05}, {"light": 0.2}):
        changed = draw("move_left", 3, difficulty=replace(BARE, **dial))
        assert not np.array_equal(changed, still), dial


def test_invalid_arguments_are_rejected():
    with pytest.raises(ValueError, match="unknown verb 'jump'; known: move_left, move_right"):
        draw("jump", 0)
    with pytest.raises(ValueError, match="2 frames"):
        draw("appear", 0, frames=1)
    with pytest.raises(ValueError, match=r"negative: .*noise=-0.1"):
        Difficulty(noise=-0.1)


def test_written_files_are_h264(tmp_path):
    clip = draw("turn_left", 0, frames=30)
    write_video(tmp_path / "new" / "clip.mp4", clip, fps=25)
    frames = decode(tmp_path / "new" / "clip.mp4")
    assert [(frame.height, frame.width) for frame in frames] == [(96, 128)] * 30
    kinds = ["?IPB"[int(frame.pict_type)] for frame in frames]
    assert [i for i, frame in enumerate(frames) if frame.key_frame] == [0, 12, 24]
    assert "B" in kinds
    decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in frames])
    assert np.abs(decoded.astype(int) - clip).mean() < 8
    with av.open(str(tmp_path / "new" / "clip.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].average_rate == 25


def test_files_that_cannot_be_written_are_reported(tmp_path):
    clip = draw("turn_left", 0, frames=2)
    with pytest.raises(ValueError, match="even"):
        write_video(tmp_path / "odd.mp4", clip[:, :-1])
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_video(tmp_path / "taken", clip)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"inside\.mp4"):
        write_video(tmp_path / "file" / "inside.mp4", clip)
    assert not list(tmp_path.rglob("*.part"))


def test_folder_of_stopped_call_is_told(tmp_path, capsys):
    (tmp_path / "a" / "train" / "appear").mkdir(parents=True)
    assert main(["synthesize", str(tmp_path / "a")]) == 2
    assert (
        "a is incomplete, perhaps because an earlier call was stopped: delete it" in capsys.readouterr().err
    )


def test_data_set_depends_only_on_seed(tmp_path):
    made = []
    make_dataset(
        tmp_path / "two", train=2, val=1, seed=7, verbs=VERBS[2:4], report=lambda *done: made.append(done)
    )
    files = sorted(str(path.relative_to(tmp_path / "two")) for path in (tmp_path / "two").rglob("*.mp4"))
    assert files == [
        "train/move_down/00000.mp4",
        "train/move_down/00001.mp4",
        "train/move_up/00000.mp4",
        "train/move_up/00001.mp4",
        "val/move_down/00000.mp4",
        "val/move_up/00000.mp4",
    ]
    assert made == [(done, 6) for done in range(1, 7)]
    contents = {name: (tmp_path / "two" / name).read_bytes() for name in files}
    assert len(set(contents.values())) == 6
    assert all(24 <= len(decode(tmp_path / "two" / name)) <= 48 for name in files)

    make_dataset(tmp_path / "one", train=1, val=1, seed=7, verbs=["move_up"])
    for name in ("train/move_up/00000.mp4", "val/move_up/00000.mp4"):
        assert (tmp_path / "one" / name).read_bytes() == contents[name]


def test_number_of_workers_does_not_change_files(tmp_path):
    for workers in (1, 2):
        make_dataset(
            tmp_path / str(workers), train=1, val=0, verbs=["appear"], height=48, width=64, workers=workers
        )
    one, two = (tmp_path / workers / "train" / "appear" / "00000.mp4" for workers in "12")
    assert one.read_bytes() == two.read_bytes()


def test_invalid_data_set_is_rejected_before_writing(tmp_path):
    with pytest.raises(ValueError, match="unknown verbs: jump; known: move_left"):
        make_dataset(tmp_path / "new", train=1, val=1, verbs=["appear", "jump"])
    with pytest.raises(ValueError, match="even"):
        make_dataset(tmp_path / "new", train=1, val=1, height=63)
    assert not (tmp_path / "new").exists()
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ValueError, match=f"{tmp_path} is not empty"):
        make_dataset(tmp_path, train=1, val=1)


def test_synthesize_command_writes_data_set(tmp_path, capsys):
    flags = ["--height", "32", "--width", "48", "--workers", "1", "--seed", "3", "--camera", "0.5"]
    assert main(["synthesize", str(tmp_path / "a"), "--videos", "10", "--val", "10", *flags]) == 0
    assert "10 training, 10 validation videos" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "a" / "train").iterdir()) == sorted(VERBS)
    about = json.loads((tmp_path / "a" / "synthetic.json").read_text())
    assert (about["seed"], about["dials"]["camera"], about["dials"]["tempo"]) == (3, 0.5, HARD.tempo)
    make_dataset(
        tmp_path / "b",
        train=1,
        val=0,
        seed=3,
        verbs=["recede"],
        height=32,
        width=48,
        difficulty=replace(HARD, camera=0.5),
    )
    one, other = (tmp_path / name / "train" / "recede" / "00000.mp4" for name in "ab")
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--videos", "15"], "--videos must be a multiple of 10 (number of classes), not 15"),
        (["--videos", "0", "--val", "0"], "--videos and --val are both 0"),
        (["--tempo", "-1"], "difficulty settings must not be negative"),
        (["--workers", "0"], "--workers must be positive, not 0"),
        (["--height", "33", "--workers", "1"], "even H and W"),
    ],
)
def test_synthesize_command_reports_errors(tmp_path, capsys, flags, line):
    assert main(["synthesize", str(tmp_path / "new"), *flags]) == 2
    assert line in capsys.readouterr().err
    assert not (tmp_path / "new").exists()

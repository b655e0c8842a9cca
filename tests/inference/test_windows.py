"""Windows over a video: their frames and times, features that give the logits, and segments."""

import dataclasses

import numpy as np
import pytest
import torch

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.data.normalisation import normalise
from tanet.data.views import read_views
from tanet.errors import UserError
from tanet.inference.features import extract
from tanet.inference.timeline import Rules, cell_scores, segments, timeline
from tanet.inference.windows import Span, Windows, default_window, read_windows, windows_of
from tanet.models.factory import build
from tanet.video import DamagedVideo, FrameArray, open_video
from tests.support.encoded_videos import X264, encode
from tests.support.tiny_videos import TINY, changed


def noise(frames, seed=0):
    """Return a video of random pictures, 30 frames per second."""
    generator = torch.Generator().manual_seed(seed)
    return FrameArray(torch.randint(0, 255, (frames, 36, 48, 3), dtype=torch.uint8, generator=generator))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    network = build(TINY.model, classes=3).eval()
    torch.nn.init.normal_(network.head.weight)
    return Checkpoint(network, TINY, ("a", "b", "c"))


@pytest.mark.parametrize(
    ("text", "value", "unit"), [("16", 16, "frames"), ("16f", 16, "frames"), (" 0.5s", 0.5, "seconds")]
)
def test_lengths_are_frames_or_seconds(text, value, unit):
    assert Span.parse(text) == Span(value, unit)


@pytest.mark.parametrize("text", ["0", "1.5", "-2", "2m", "s", ""])
def test_wrong_lengths_are_refused(text):
    with pytest.raises(UserError, match=r"give a number of frames \(16\) or seconds \(2s\)"):
        Span.parse(text)


def test_windows_in_frames_have_the_times_of_actionformer():
    # N = floor((frames - window) / stride) + 1, and the time of row i is (i · stride + window / 2) / fps
    found = windows_of(noise(100), TINY, window=Span(16), stride=Span(4))
    assert len(found) == (100 - 16) // 4 + 1
    assert found.centres == pytest.approx((4 * np.arange(22) + 8) / 30)
    assert found.starts == pytest.approx(4 * np.arange(22) / 30)
    assert found.indices[1].tolist() == [6, 10, 14, 18]  # the middles of four parts
    dense = changed(TINY, data={"sampling": "dense", "window": 16})
    found = windows_of(noise(100), dense, window=Span(16), stride=Span(4))
    assert found.indices[1].tolist() == [4, 8, 12, 16]
    covered = windows_of(noise(103), TINY, window=Span(16), stride=Span(8), to_end=True)
    assert covered.ends[-1] == pytest.approx(103 / 30)


def test_short_video_is_one_window_that_repeats_the_last_frame():
    found = windows_of(noise(5), TINY, window=Span(16), stride=Span(4))
    assert found.indices.tolist() == [[2, 4, 4, 4]]
    assert found.ends.tolist() == pytest.approx([5 / 30])


def test_windows_in_seconds_follow_the_times_of_the_frames(tmp_path):
    # 25 frames in the first second, then frames at 1, 2 and 3 s
    times = [*range(25), 25, 50, 75]
    path = encode(tmp_path / "variable.mp4", "libx264", 12, X264, times=times)
    with open_video(path) as video:
        found = windows_of(video, TINY, window=Span(2, "seconds"), stride=Span(1, "seconds"))
    assert found.indices[0].tolist() == [6, 18, 25, 25]  # at 0.25, 0.75, 1.25 and 1.75 s
    assert found.indices[1].tolist() == [25, 25, 26, 26]
    assert found.starts.tolist() == [0, 1]  # the last frame lasts as long as the average one, 0.11 s


def test_default_window_is_that_of_the_training():
    assert default_window(changed(TINY, data={"sampling": "dense", "window": 16})) == Span(16)
    timed = changed(TINY, data={"sampling": "dense", "window": 60, "rate": "30fps"})
    assert default_window(timed) == Span(2, "seconds")
    assert default_window(TINY) == Span(2, "seconds")


@pytest.mark.parametrize("crops", [1, 3])
@pytest.mark.parametrize("flows", [0, 2])
def test_windows_are_read_as_in_testing(crops, flows):
    if flows:
        pytest.importorskip("cv2")
    from tanet.data.flow_video import ComputedFlow

    recipe = changed(TINY, model={"flows": flows, "temporal": "tsm"}, eval={"crops": crops})
    frames = noise(60)
    video = ComputedFlow(frames, method="dis", size=(0, 0)) if flows else frames
    windows = windows_of(video, recipe, window=Span(20), stride=Span(7))
    views = torch.cat(list(read_windows(video, windows, recipe, eval=recipe.eval, batch=4)))
    assert views.shape == (len(windows), crops, 4, 2 * flows or 3, 32, 32)
    if not flows:  # a window is a video of its own
        alone = FrameArray(frames.read(range(7, 27)))
        wanted = read_views(alone, frames=4, data=recipe.data, eval=recipe.eval)
        assert torch.equal(views[1], wanted)


def test_features_give_the_logits_of_the_windows(model):
    found = extract(noise(70), model, window=Span(16), stride=Span(6))
    assert found.values.shape == (10, 128)
    windows = found.windows
    views = torch.cat(list(read_windows(noise(70), windows, TINY, eval=TINY.eval, batch=100)))
    with torch.inference_mode():
        logits = model.network(normalise(views[:, 0], model.network.input_spec))
        ours = model.network.head(torch.from_numpy(found.values))
    assert (ours - logits).abs().max() <= 1e-6 * logits.abs().max()
    wide = changed(TINY, eval={"crops": 3, "batch": 5})
    each = extract(noise(70), dataclasses.replace(model, recipe=wide), window=Span(16), mean_over_crops=False)
    assert each.values.shape == (4, 3, 128)


def test_damaged_video_gives_the_windows_before_the_damage(model):
    class Cut(FrameArray):
        def _pixels(self, numbers):
            for number, pixels in super()._pixels(numbers):
                if number >= 40:
                    raise DamagedVideo("cut", "cut short", 40)
                yield number, pixels

    frames = noise(70).read(range(70))
    found = extract(Cut(frames), model, window=Span(16), stride=Span(8))
    whole = extract(FrameArray(frames), model, window=Span(16), stride=Span(8))
    assert len(found.values) == 4  # windows [0, 16) to [24, 40)
    assert np.allclose(found.values, whole.values[:4], atol=1e-5)
    assert found.note == "damaged: only 40 frames can be read"


def scores_of(*labels, classes=3, high=0.8):
    """Return scores [cells, classes], high for the label of each cell."""
    scores = np.full((len(labels), classes), (1 - high) / (classes - 1), np.float32)
    scores[np.arange(len(labels)), list(labels)] = high
    return scores


def test_cells_average_the_windows_that_cover_them():
    # windows of 2 s every second; cells of one second
    starts = np.arange(3.0)
    windows = Windows(np.zeros((3, 4), np.int64), starts, starts + 1, starts + 2)
    cells = cell_scores(scores_of(0, 1, 1), windows, np.arange(5.0))
    assert cells[0] == pytest.approx(scores_of(0)[0])
    assert cells[1] == pytest.approx((scores_of(0)[0] + scores_of(1)[0]) / 2)
    assert cells[3] == pytest.approx(scores_of(1)[0])


def test_segments_have_hysteresis_and_a_shortest_length():
    classes, edges = ("a", "b", "c"), np.arange(9.0)
    plain = Rules(margin=0, shortest=0)
    found = segments(scores_of(0, 0, 1, 0, 0, 2, 2, 2), edges, classes, plain)
    assert [(s.label, s.start, s.end) for s in found] == [("a", 0, 2), ("b", 2, 3), ("a", 3, 5), ("c", 5, 8)]
    merged = segments(scores_of(0, 0, 1, 0, 0, 2, 2, 2), edges, classes, Rules(margin=0, shortest=2))
    assert [(s.label, s.start, s.end) for s in merged] == [("a", 0, 5), ("c", 5, 8)]
    weak = scores_of(0, 0, 0, 0, 0, 2, 2, 2, high=0.36)  # leads by 0.04
    assert len(segments(weak, edges, classes, Rules(margin=0.1))) == 1
    assert len(segments(weak, edges, classes, Rules(margin=0.03))) == 2
    assert segments(weak, edges, classes, Rules(threshold=0.5)) == ()


def test_timeline_covers_the_video(model):
    found = timeline(noise(200), model, window=Span(32), hop=Span(16))
    assert found.duration == pytest.approx(200 / 30)
    assert found.segments[0].start == 0
    assert found.segments[-1].end == pytest.approx(found.duration)
    assert all(one.end == other.start for one, other in zip(found.segments, found.segments[1:], strict=False))
    assert found.scores.sum(1) == pytest.approx(np.ones(len(found.scores)), abs=1e-5)

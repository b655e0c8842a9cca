"""Evaluation equals a plain loop, decodes each frame once, merges ranks and adapts to little memory."""

import dataclasses
from collections import Counter

import av
import numpy as np
import pytest
import torch

from tanet.data.loader import BadVideo
from tanet.data.samples import Sample, Split
from tanet.evaluation import evaluate
from tanet.evaluation.scorer import Scorer
from tanet.models.factory import build
from tanet.recipes.recipe import Eval, Network2D
from tanet.runtime.distributed import SINGLE_PROCESS
from tanet.runtime.events import Note
from tanet.runtime.interrupt import StopRequest
from tanet.training.validation import Validation
from tanet.video import VideoError
from tanet.video.video_file import VideoFile
from tests.support.tiny_videos import TINY, make


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = build(TINY.model, classes=3).eval()
    torch.nn.init.normal_(network.head.weight)
    return network


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return [Sample(str(make(folder / f"{i}.mp4", seed=i, frames=90 + i)), i % 3) for i in range(5)]


def recipe_for(eval, **data):
    return dataclasses.replace(TINY, data=dataclasses.replace(TINY.data, **data), eval=eval)


class FrameCounter(torch.nn.Module):
    """Network whose logits are the number of frames of a clip, and its number of clips."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, clips):
        count = torch.full((len(clips), 1), float(clips.shape[1]))
        return torch.cat((count / 10, count.new_full((len(clips), 1), len(clips))), 1)


class AnyFrames(Network2D):
    """Settings of a network that takes clips of any length."""

    any_frames = True


def test_whole_videos_of_different_length_are_scored_one_by_one(tmp_path):
    lengths = (6, 12, 20, 9)
    samples = [Sample(str(make(tmp_path / f"{n}.mp4", frames=n)), 0) for n in lengths]
    eval = Eval(clips=1, crops=3, resize=32, size=32, frames=15, batch=64)
    recipe = dataclasses.replace(TINY, model=AnyFrames(frames=4), eval=eval)
    found = evaluate.evaluate(FrameCounter(), samples, classes="ab", recipe=recipe).scores
    logits = torch.tensor([[count / 10, 3.0] for count in (6, 12, 15, 9)])  # 3 crops per forward pass
    torch.testing.assert_close(found, logits.softmax(1))
    validation = Validation(
        recipe,
        Split((), tuple(samples), ("a", "b")),
        group=SINGLE_PROCESS,
        on_event=lambda _: None,
        stop=StopRequest(),
    )
    logits[:, 1] = 1  # one central view
    torch.testing.assert_close(validation(FrameCounter()).scores, logits.softmax(1))


def score_by_hand(network, path, *, dense, clips, fuse):
    """Score a video in a plain loop: 4 frames per clip, three crops of 32² pixels, short side 40."""
    with av.open(path) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    n, logits = len(frames), []
    for clip in range(clips):
        if dense:
            start = int(clip * (n - 64) / (clips - 1))
            chosen = [start + 16 * i for i in range(4)]
        else:
            start = int(clip * (n / 4 - 1) / (clips - 1))
            chosen = [int(start + n / 4 * i) for i in range(4)]
        for left in (0, 14, 28):  # 48 × 32 pixels become 60 × 40
            view = []
            for i in chosen:
                image = torch.from_numpy(frames[i]).permute(2, 0, 1)[None]
                large = torch.nn.functional.interpolate(image, (40, 60), mode="bilinear", antialias=True)[0]
                crop = large[:, 4:36, left : left + 32].numpy().transpose(1, 2, 0) / 255
                view.append((crop - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225])
            tensor = torch.tensor(np.stack(view).transpose(0, 3, 1, 2), dtype=torch.float32)
            with torch.inference_mode():
                logits.append(network(tensor[None])[0])
    if fuse == "softmax":
        return torch.stack([view.softmax(0) for view in logits]).mean(0)
    return torch.stack(logits).mean(0).softmax(0)


@pytest.mark.parametrize(("sampling", "fuse"), [("dense", "logits"), ("uniform", "softmax")])
def test_scores_equal_plain_loop(network, samples, fuse, sampling):
    eval = Eval(clips=3, crops=3, resize=40, size=32, average=fuse, batch=4)
    recipe = recipe_for(eval, sampling=sampling)
    report = evaluate.evaluate(network, samples, classes=("a", "b", "c"), recipe=recipe)
    for sample, scores in zip(samples, report.scores, strict=True):
        expected = score_by_hand(network, sample.path, dense=sampling == "dense", clips=3, fuse=fuse)
        assert torch.allclose(scores, expected, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_scores_do_not_depend_on_views_per_forward_pass(network, samples, batch):
    eval = Eval(clips=2, crops=3, resize=32, size=32)
    alone = evaluate.evaluate(network, samples, classes=("a", "b", "c"), recipe=recipe_for(eval))
    recipe = recipe_for(dataclasses.replace(eval, batch=batch))
    report = evaluate.evaluate(network, samples, classes=("a", "b", "c"), recipe=recipe)
    assert torch.allclose(report.scores, alone.scores, atol=1e-6)


def test_each_video_is_opened_once_and_each_frame_decoded_once(network, samples, monkeypatch):
    opened, asked, decoded = Counter(), Counter(), Counter()
    decode, frames, start = VideoFile._decode, VideoFile._frames, VideoFile.__init__

    def counted_start(self, *args, **kwargs):
        start(self, *args, **kwargs)
        opened[str(self.path)] += 1
        decoded.clear()  # opening a file decodes its first frame

    def counted_decode(self, numbers):
        asked.update((str(self.path), number) for number in numbers)
        return decode(self, numbers)

    def counted_frames(self, *args, **kwargs):
        for frame in frames(self, *args, **kwargs):
            decoded[str(self.path), frame.pts] += 1
            yield frame

    monkeypatch.setattr(VideoFile, "__init__", counted_start)
    monkeypatch.setattr(VideoFile, "_decode", counted_decode)
    monkeypatch.setattr(VideoFile, "_frames", counted_frames)
    recipe = recipe_for(Eval(clips=10, crops=3, resize=40, size=32), sampling="dense")
    evaluate.evaluate(network, samples[:1], classes=("a", "b", "c"), recipe=recipe)
    assert opened == {samples[0].path: 1}
    assert 10 < len(asked) <= 40  # ten clips of four frames, with some frames in several clips
    assert set(asked.values()) == {1}
    assert len(decoded) >= len(asked)
    assert set(decoded.values()) == {1}


class TwoViewsAtMost(torch.nn.Module):
    """Network that raises an out-of-memory error for more than two views."""

    def __init__(self, network):
        super().__init__()
        self.network, self.sizes = network, []

    def forward(self, views):
        self.sizes.append(len(views))
        if len(views) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.network(views)


def test_out_of_memory_halves_views_per_forward_pass(network, samples):
    recipe, told = recipe_for(Eval(clips=2, crops=3, resize=32, size=32, batch=32)), []
    small = TwoViewsAtMost(network)
    report = evaluate.evaluate(small, samples, classes=("a", "b", "c"), recipe=recipe, on_event=told.append)
    # Five videos have 30 views. The number is halved until two views fit, and stays there.
    assert [size for size in small.sizes if size > 2] == [30, 15, 7, 3]
    notes = [event for event in told if isinstance(event, Note)]
    assert notes[-1] == Note("out of GPU memory: using 1 views per forward pass from now on")
    expected = evaluate.evaluate(network, samples, classes=("a", "b", "c"), recipe=recipe)
    assert torch.allclose(report.scores, expected.scores, atol=1e-6)


def test_validation_reports_out_of_memory(network, samples):
    told = []
    split = Split((), tuple(samples), ("a", "b", "c"))
    validation = Validation(TINY, split, group=SINGLE_PROCESS, on_event=told.append, stop=StopRequest())
    assert len(validation(TwoViewsAtMost(network)).samples) == 5
    told = [event for event in told if isinstance(event, Note)]
    assert told == [Note("out of GPU memory: using 2 views per forward pass from now on")]


def test_out_of_memory_for_one_view_is_raised(network, samples):
    def always_out_of_memory(views):
        raise torch.OutOfMemoryError("CUDA out of memory")

    scorer = Scorer(network, eval=Eval(batch=4), precision="float32")
    scorer.network = always_out_of_memory
    with pytest.raises(torch.OutOfMemoryError):
        scorer(torch.zeros(1, 6, 4, 3, 32, 32, dtype=torch.uint8))


def test_scores_of_ranks_merge_into_one_report(network, samples, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    every = [*samples[:2], Sample(str(broken), 0), *samples[2:]]
    recipe, told = recipe_for(TINY.eval, max_bad=1.0), []
    alone = evaluate.evaluate(network, every, classes=("a", "b", "c"), recipe=recipe)
    shares = [
        evaluate.score_samples(network, every, recipe=recipe, numbers=range(rank, 6, 4), on_event=told.append)
        for rank in (3, 0, 2, 1)
    ]
    shares.append(evaluate.score_samples(network, every, recipe=recipe, numbers=[]))  # a rank without videos
    merged = evaluate.merge_scores(shares, every, classes=("a", "b", "c"))
    assert merged.samples == alone.samples == tuple(samples)
    assert torch.allclose(merged.scores, alone.scores, atol=1e-6)
    assert [str(error) for error in merged.bad.values()] == [str(error) for error in alone.bad.values()]
    assert list(merged.bad) == [str(broken)]
    assert [event.number for event in told if isinstance(event, BadVideo)] == [2]
    with pytest.raises(ValueError, match=r"0\.mp4 was scored twice"):
        evaluate.merge_scores([*shares, shares[1]], every, classes=("a", "b", "c"))
    with pytest.raises(ValueError, match=r"0\.mp4 was not scored"):
        evaluate.merge_scores([shares[0], *shares[2:]], every, classes=("a", "b", "c"))


def test_bad_videos_are_counted_over_all_ranks(network, tmp_path):
    samples = [Sample(str(make(tmp_path / f"{i}.mp4", seed=i)), i % 3) for i in range(10)]
    recipe = recipe_for(TINY.eval, max_bad=0.1)

    def merged():
        shares = [
            evaluate.score_samples(network, samples, recipe=recipe, numbers=range(rank, 10, 2))
            for rank in (0, 1)
        ]
        return evaluate.merge_scores(shares, samples, classes=("a", "b", "c"), max_bad=0.1)

    (tmp_path / "1.mp4").write_bytes(b"no video")  # 1 of 5 videos on its rank
    assert len(merged().samples) == 9
    (tmp_path / "2.mp4").write_bytes(b"no video")  # one bad video on each rank, but 2 of 10 in total
    with pytest.raises(ValueError, match=r"2 of 10 videos cannot be read, .*--data\.max-bad"):
        merged()


def test_bad_videos_are_reported_and_left_out(network, tmp_path):
    samples = [Sample(str(make(tmp_path / f"{i}.mp4", seed=i)), i % 3) for i in range(4)]
    (tmp_path / "1.mp4").write_bytes(b"no video")
    recipe = dataclasses.replace(TINY, data=dataclasses.replace(TINY.data, max_bad=0.25))
    told = []
    report = evaluate.evaluate(
        network,
        samples,
        classes=("a", "b", "c"),
        recipe=recipe,
        on_event=told.append,
    )
    kept = [samples[i] for i in (0, 2, 3)]
    assert report.samples == tuple(kept)
    assert told[-1] == evaluate.VideosDone(4, 4)
    alone = evaluate.evaluate(network, kept, classes=("a", "b", "c"), recipe=recipe)
    assert torch.allclose(report.scores, alone.scores, atol=1e-6)
    assert report.accuracy == alone.accuracy
    (bad,) = (event for event in told if isinstance(event, BadVideo))
    assert bad.number == 1
    assert report.bad == {samples[1].path: bad.error}
    assert report.as_dict()["unreadable"] == [str(told[0].error)]
    strict = dataclasses.replace(TINY, data=dataclasses.replace(TINY.data, bad_files="strict"))
    with pytest.raises(VideoError, match=r"1\.mp4: "):
        evaluate.evaluate(network, samples, classes=("a", "b", "c"), recipe=strict)
    every = dataclasses.replace(TINY, data=dataclasses.replace(TINY.data, max_bad=1.0))
    with pytest.raises(ValueError, match="none of the 1 videos can be read"):
        evaluate.evaluate(network, samples[1:2], classes=("a", "b", "c"), recipe=every)


def test_report_converts_to_plain_values():
    scores = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    report = evaluate.Report((Sample("x.mp4", 0), Sample("y.mp4", 1)), ("a", "b", "c"), scores)
    values = report.as_dict()
    assert (values["videos"], values["top1"], values["mean_class"]) == (2, 0.5, 0.5)
    assert values["per_class"] == {"a": 1.0, "b": 0.0}
    wrong = {"video": "y.mp4", "label": "b", "answer": "c", "score": pytest.approx(0.6)}
    assert values["answers"][1] == wrong
    assert [vars(answer) for answer in report.worst(5)] == [wrong]
    assert report.confusion.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_empty_list_of_videos_is_rejected(network):
    with pytest.raises(ValueError, match="no videos to test on"):
        evaluate.evaluate(network, [], classes=("a",), recipe=TINY)

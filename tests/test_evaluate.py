"""Testing against a plain loop over views, and what a report says."""

import dataclasses

import pytest
import torch
from clips import TINY, make

from tanet import evaluate
from tanet.annotation import Sample
from tanet.datasets import EvalClips
from tanet.network import build
from tanet.recipe import Eval
from tanet.transforms import normalise
from tanet.video import VideoError


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = build(TINY.model, classes=3).eval()
    torch.nn.init.normal_(network.head.weight)
    return network


@pytest.mark.parametrize("fuse", ["logits", "softmax"])
@pytest.mark.parametrize("batch", [1, 4, 100])
def test_equals_a_plain_loop_over_views(network, tmp_path, fuse, batch):
    samples = [Sample(str(make(tmp_path / f"{i}.mp4", seed=i)), i) for i in range(3)]
    recipe = TINY.__class__(TINY.data, TINY.model, TINY.optim, Eval(2, 3, 32, 32, fuse, batch))
    report = evaluate.test(network, samples, classes=("a", "b", "c"), recipe=recipe)
    clips = EvalClips(samples, recipe.data, recipe.eval, frames=4)
    for i in range(3):
        views, _ = clips[i]
        with torch.inference_mode():
            logits = torch.stack([network(normalise(view)[None])[0] for view in views])
        expected = logits.mean(0).softmax(0) if fuse == "logits" else logits.softmax(1).mean(0)
        assert torch.allclose(report.scores[i], expected, atol=1e-5)


def test_bad_videos_are_named_and_do_not_count(network, tmp_path):
    samples = [Sample(str(make(tmp_path / f"{i}.mp4", seed=i)), i % 3) for i in range(4)]
    (tmp_path / "1.mp4").write_bytes(b"no video")
    recipe = dataclasses.replace(TINY, data=dataclasses.replace(TINY.data, max_bad=0.25))
    told, done = [], []
    report = evaluate.test(
        network,
        samples,
        classes=("a", "b", "c"),
        recipe=recipe,
        report=lambda *counts: done.append(counts),
        bad=told.append,
    )
    kept = [samples[i] for i in (0, 2, 3)]
    assert report.samples == tuple(kept)
    assert done[-1] == (4, 4)
    alone = evaluate.test(network, kept, classes=("a", "b", "c"), recipe=recipe)
    assert torch.allclose(report.scores, alone.scores, atol=1e-6)
    assert report.accuracy == alone.accuracy
    assert [video.number for video in told] == [1]
    assert report.bad == (told[0].error,)
    assert report.as_dict()["unreadable"] == [str(told[0].error)]
    strict = dataclasses.replace(TINY, data=dataclasses.replace(TINY.data, bad_files="strict"))
    with pytest.raises(VideoError, match=r"1\.mp4: "):
        evaluate.test(network, samples, classes=("a", "b", "c"), recipe=strict)
    every = dataclasses.replace(TINY, data=dataclasses.replace(TINY.data, max_bad=1.0))
    with pytest.raises(ValueError, match="none of the 1 videos can be read"):
        evaluate.test(network, samples[1:2], classes=("a", "b", "c"), recipe=every)


def test_report_as_plain_values():
    scores = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    report = evaluate.Report((Sample("x.mp4", 0), Sample("y.mp4", 1)), ("a", "b", "c"), scores)
    values = report.as_dict()
    assert (values["videos"], values["top1"], values["mean_class"]) == (2, 0.5, 0.5)
    assert values["per_class"] == {"a": 1.0, "b": 0.0}
    assert values["answers"][1] == {
        "video": "y.mp4",
        "label": "b",
        "answer": "c",
        "score": pytest.approx(0.6),
    }


def test_no_videos(network):
    with pytest.raises(ValueError, match="no videos to test on"):
        evaluate.test(network, [], classes=("a",), recipe=TINY)

"""Testing against a plain loop over views, and what a report says."""

import pytest
import torch
from clips import TINY, make

from tanet import evaluate
from tanet.annotation import Sample
from tanet.datasets import EvalClips
from tanet.network import build
from tanet.recipe import Eval
from tanet.transforms import normalise


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

"""Fusion and accuracy on numbers worked out by hand."""

import pytest
import torch

from tanet import metrics


def test_fuse_logits_and_softmax_differ_as_they_should():
    logits = torch.tensor([[4.0, 0.0], [0.0, 1.0]])  # two views, two classes
    assert torch.allclose(metrics.fuse(logits), torch.tensor([2.0, 0.5]).softmax(0))
    assert torch.allclose(metrics.fuse(logits, how="softmax"), logits.softmax(1).mean(0))
    with pytest.raises(ValueError, match="known are logits, softmax"):
        metrics.fuse(logits, how="max")  # type: ignore[arg-type]


def test_accuracy():
    scores = torch.eye(7)[[0, 1, 2, 3, 6, 6]]
    labels = torch.tensor([0, 1, 2, 3, 3, 0])
    accuracy = metrics.accuracy(scores, labels)
    assert accuracy.top1 == pytest.approx(4 / 6)
    assert accuracy.per_class == (0.5, 1.0, 1.0, 0.5, None, None, None)
    assert accuracy.mean_class == pytest.approx(0.75)


def test_top5():
    scores = torch.arange(7.0).flip(0).expand(7, 7)  # class 0 first, class 6 last
    assert metrics.accuracy(scores, torch.arange(7)).top5 == pytest.approx(5 / 7)
    assert metrics.accuracy(torch.tensor([[0.1, 0.9]]), torch.tensor([0])).top5 == 1  # fewer classes than 5

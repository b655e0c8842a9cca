"""Averages of views and accuracies match values worked out by hand."""

import pytest
import torch

from tanet.evaluation import metrics


def test_average_of_logits_and_of_softmax():
    logits = torch.tensor([[4.0, 0.0], [0.0, 1.0]])  # two views, two classes
    assert torch.allclose(metrics.average(logits), torch.tensor([2.0, 0.5]).softmax(0))
    assert torch.allclose(metrics.average(logits, how="softmax"), logits.softmax(1).mean(0))
    with pytest.raises(ValueError, match="choose from logits, softmax"):
        metrics.average(logits, how="max")  # type: ignore[arg-type]


def test_accuracy_per_class_and_mean():
    scores = torch.eye(7)[[0, 1, 2, 3, 6, 6]]
    labels = torch.tensor([0, 1, 2, 3, 3, 0])
    accuracy = metrics.accuracy(scores, labels)
    assert accuracy.top1 == pytest.approx(4 / 6)
    assert accuracy.per_class == (0.5, 1.0, 1.0, 0.5, None, None, None)
    assert accuracy.mean_class == pytest.approx(0.75)


def test_top5_counts_label_among_five_best():
    scores = torch.arange(7.0).flip(0).expand(7, 7)  # class 0 has the highest score, class 6 the lowest
    assert metrics.accuracy(scores, torch.arange(7)).top5 == pytest.approx(5 / 7)
    assert metrics.accuracy(torch.tensor([[0.1, 0.9]]), torch.tensor([0])).top5 == 1  # fewer classes than 5


def test_confusion_has_one_row_per_true_class():
    scores = torch.eye(3)[[1, 1, 0, 2]]
    table = metrics.confusion(scores, torch.tensor([0, 0, 0, 2]))
    assert table.tolist() == [[1, 2, 0], [0, 0, 0], [0, 0, 1]]


def test_accuracy_and_confusion_break_ties_the_same():
    scores, labels = torch.full((4, 7), 1 / 7), torch.tensor([0, 2, 4, 6])
    right = metrics.confusion(scores, labels).diagonal().sum() / 4
    assert metrics.accuracy(scores, labels).top1 == pytest.approx(right)


def test_worst_are_the_most_confident_wrong_answers():
    scores = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]])
    labels = torch.tensor([0, 0, 0, 1])  # 1 and 2 are wrong
    assert metrics.worst(scores, labels, 5) == [1, 2]
    assert metrics.worst(scores, labels, 1) == [1]
    assert metrics.worst(scores[:1], labels[:1], 5) == []

"""Metrics of a test: mean over views, accuracy, confusion matrix, worst errors and rank correlation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from tanet.errors import UserError

Average = Literal["logits", "softmax"]


@dataclass(frozen=True)
class Accuracy:
    """Accuracies of a test, as fractions between 0 and 1."""

    top1: float
    top5: float
    mean_class: float
    """Top-1 accuracy per class, averaged over the classes that have videos."""
    per_class: tuple[float | None, ...]
    """Top-1 accuracy of each class; None for a class without videos."""


def average(logits: torch.Tensor, *, how: Average = "logits") -> torch.Tensor:
    """Average the predictions for the views of a video, and return probabilities [..., classes].

    Args:
        logits: predictions for each view, [..., views, classes].
        how: "logits" averages the logits and then applies the softmax, as in the published TANet code.
            "softmax" applies the softmax and then averages the probabilities, as in mmaction2.
    """
    if how == "logits":
        return logits.mean(-2).softmax(-1)
    if how == "softmax":
        return logits.softmax(-1).mean(-2)
    raise UserError(f"unknown average '{how}': choose from logits, softmax")


def accuracy(scores: torch.Tensor, labels: torch.Tensor) -> Accuracy:
    """Compute the accuracies of scores [B, classes] for labels [B]."""
    classes = scores.shape[1]
    first = scores.max(1).indices == labels  # [B]
    best = scores.topk(min(5, classes), dim=1).indices  # [B, 5]
    per_class = [
        first[labels == c].float().mean().item() if (labels == c).any() else None for c in range(classes)
    ]
    present = [part for part in per_class if part is not None]
    return Accuracy(
        top1=first.float().mean().item(),
        top5=(best == labels[:, None]).any(1).float().mean().item(),
        mean_class=sum(present) / len(present),
        per_class=tuple(per_class),
    )


def confusion(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the confusion matrix: numbers of videos, int64 [true class, predicted class]."""
    classes = scores.shape[1]
    return (labels * classes + scores.max(1).indices).bincount(minlength=classes**2).view(classes, classes)


def worst(scores: torch.Tensor, labels: torch.Tensor, count: int) -> list[int]:
    """Return the indices of the wrong predictions with the highest scores, at most `count` of them."""
    score, answer = scores.max(1)
    wrong = (answer != labels).nonzero().flatten()
    return wrong[score[wrong].argsort(descending=True, stable=True)][:count].tolist()


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Compute Spearman's rank correlation of two sequences, -1 to 1.

    The result is nan if there are fewer than three values, or if all values of a sequence are equal.
    """
    if len(one) < 3:
        return float("nan")
    return float(torch.corrcoef(torch.stack([_ranks(one), _ranks(other)]))[0, 1])


def _ranks(values: Sequence[float]) -> torch.Tensor:
    """Return the rank of each value, float64. Equal values get the mean of their ranks."""
    numbers = torch.tensor(values, dtype=torch.float64)
    _, which, counts = numbers.unique(return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts - 1) / 2).double()[which]

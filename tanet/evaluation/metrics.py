"""From logits to answers: the views of a video fused into one score; accuracy, and where it is lost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from tanet.errors import UserError

Average = Literal["logits", "softmax"]


@dataclass(frozen=True)
class Accuracy:
    """Parts of 1."""

    top1: float
    top5: float
    mean_class: float
    """Top-1 of each class, averaged over the classes that occur."""
    per_class: tuple[float | None, ...]
    """Top-1 of each class; None where no video has it."""


def average(logits: torch.Tensor, *, how: Average = "logits") -> torch.Tensor:
    """Scores of a video from those of its views: [..., views, classes] → probabilities [..., classes].

    `logits` averages before the softmax (the published code), `softmax` after it (mmaction2).
    """
    if how == "logits":
        return logits.mean(-2).softmax(-1)
    if how == "softmax":
        return logits.softmax(-1).mean(-2)
    raise UserError(f"unknown fusion '{how}': known are logits, softmax")


def accuracy(scores: torch.Tensor, labels: torch.Tensor) -> Accuracy:
    """Of scores [B, classes] against labels [B]."""
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
    """How often each class is taken for each: int64 [classes, classes], a row for each true class."""
    classes = scores.shape[1]
    return (labels * classes + scores.max(1).indices).bincount(minlength=classes**2).view(classes, classes)


def worst(scores: torch.Tensor, labels: torch.Tensor, count: int) -> list[int]:
    """The wrong answers given with the highest score, at most `count` of them: numbers of videos."""
    score, answer = scores.max(1)
    wrong = (answer != labels).nonzero().flatten()
    return wrong[score[wrong].argsort(descending=True, stable=True)][:count].tolist()


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's: the correlation of the ranks of two rows of numbers, -1 to 1.

    nan for fewer than three, and where all of one row are equal.
    """
    if len(one) < 3:
        return float("nan")
    return float(torch.corrcoef(torch.stack([_ranks(one), _ranks(other)]))[0, 1])


def _ranks(values: Sequence[float]) -> torch.Tensor:
    """The rank of each, float64; equal ones share the mean of theirs."""
    numbers = torch.tensor(values, dtype=torch.float64)
    _, which, counts = numbers.unique(return_inverse=True, return_counts=True)
    return (counts.cumsum(0) - (counts - 1) / 2).double()[which]

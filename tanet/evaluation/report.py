"""Results of a test: scores, accuracies, and the predicted class of each video."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from tanet.data.samples import Sample
from tanet.evaluation import metrics
from tanet.video import VideoError


@dataclass(frozen=True)
class Answer:
    """The network's prediction for one video."""

    video: str
    label: str
    answer: str
    score: float
    """Probability of the predicted class."""


@dataclass(frozen=True)
class Report:
    """Results of a test on labelled videos."""

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    scores: torch.Tensor
    """Probabilities [videos, classes], float32."""
    bad: Mapping[str, VideoError] = field(default_factory=dict)
    """Videos that could not be read: path → error. The accuracies do not include these videos."""

    @property
    def labels(self) -> torch.Tensor:
        """Labels of the videos, int64 [videos]."""
        return torch.tensor([sample.label for sample in self.samples])

    @property
    def accuracy(self) -> metrics.Accuracy:
        """Top-1, top-5 and mean-class accuracy."""
        return metrics.accuracy(self.scores, self.labels)

    @property
    def answers(self) -> list[Answer]:
        """The prediction for each video."""
        best = zip(self.samples, *(column.tolist() for column in self.scores.max(1)), strict=True)
        return [
            Answer(sample.path, self.classes[sample.label], self.classes[answer], score)
            for sample, score, answer in best
        ]

    @property
    def confusion(self) -> torch.Tensor:
        """Confusion matrix: numbers of videos, int64 [true class, predicted class]."""
        return metrics.confusion(self.scores, self.labels)

    def worst(self, count: int) -> list[Answer]:
        """Return the wrong predictions with the highest scores, at most `count` of them."""
        answers = self.answers
        return [answers[number] for number in metrics.worst(self.scores, self.labels, count)]

    def as_dict(self) -> dict[str, Any]:
        """Return the accuracies and the prediction for each video as plain values for JSON."""
        accuracy = self.accuracy
        per_class = zip(self.classes, accuracy.per_class, strict=True)
        return {
            "videos": len(self.samples),
            "unreadable": [str(error) for error in self.bad.values()],
            "top1": accuracy.top1,
            "top5": accuracy.top5,
            "mean_class": accuracy.mean_class,
            "per_class": {name: part for name, part in per_class if part is not None},
            "answers": [vars(answer) for answer in self.answers],
        }

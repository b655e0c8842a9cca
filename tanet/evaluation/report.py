"""What a test found: scores, accuracies, and the answer for each video."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from tanet.data.samples import Sample
from tanet.evaluation import metrics
from tanet.video import VideoError


@dataclass(frozen=True)
class Answer:
    """What the network said of one video."""

    video: str
    label: str
    answer: str
    score: float
    """Probability of the answer."""


@dataclass(frozen=True)
class Report:
    """What a test found."""

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    scores: torch.Tensor
    """Probabilities [videos, classes], float32."""
    bad: Mapping[str, VideoError] = field(default_factory=dict)
    """Videos that could not be read, by their samples' paths; they do not count."""

    @property
    def labels(self) -> torch.Tensor:
        """[videos]."""
        return torch.tensor([sample.label for sample in self.samples])

    @property
    def accuracy(self) -> metrics.Accuracy:
        """Top-1, top-5 and mean-class accuracy."""
        return metrics.accuracy(self.scores, self.labels)

    @property
    def answers(self) -> list[Answer]:
        """One for each video."""
        best = zip(self.samples, *(column.tolist() for column in self.scores.max(1)), strict=True)
        return [
            Answer(sample.path, self.classes[sample.label], self.classes[answer], score)
            for sample, score, answer in best
        ]

    @property
    def confusion(self) -> torch.Tensor:
        """How often each class was taken for each: int64 [classes, classes], a row for each true class."""
        return metrics.confusion(self.scores, self.labels)

    def worst(self, count: int) -> list[Answer]:
        """The wrong answers given with the highest score, at most `count` of them."""
        answers = self.answers
        return [answers[number] for number in metrics.worst(self.scores, self.labels, count)]

    def as_dict(self) -> dict[str, Any]:
        """Accuracies, and each video with its label and its answer, as plain values for JSON."""
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

"""Testing: V clips × crops of every video, fused into one score a video."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from tanet import metrics
from tanet.annotation import Sample
from tanet.datasets import EvalClips
from tanet.device import autocast
from tanet.feed import BadVideo, Feed
from tanet.recipe import Eval, Recipe
from tanet.transforms import normalise
from tanet.video import VideoError


@dataclass(frozen=True)
class Report:
    """What a test found."""

    samples: tuple[Sample, ...]
    classes: tuple[str, ...]
    scores: torch.Tensor
    """Probabilities [videos, classes]."""
    bad: tuple[VideoError, ...] = ()
    """Videos that could not be read; they are not among the samples and do not count."""

    @property
    def labels(self) -> torch.Tensor:
        """[videos]."""
        return torch.tensor([sample.label for sample in self.samples])

    @property
    def accuracy(self) -> metrics.Accuracy:
        return metrics.accuracy(self.scores, self.labels)

    def as_dict(self) -> dict[str, Any]:
        """Accuracies, and each video with its label and its answer, as plain values for JSON."""
        accuracy = self.accuracy
        per_class = zip(self.classes, accuracy.per_class, strict=True)
        answers = zip(self.samples, *(column.tolist() for column in self.scores.max(1)), strict=True)
        return {
            "videos": len(self.samples),
            "unreadable": [str(error) for error in self.bad],
            "top1": accuracy.top1,
            "top5": accuracy.top5,
            "mean_class": accuracy.mean_class,
            "per_class": {name: part for name, part in per_class if part is not None},
            "answers": [
                {
                    "video": sample.path,
                    "label": self.classes[sample.label],
                    "answer": self.classes[answer],
                    "score": score,
                }
                for sample, score, answer in answers
            ],
        }


def test(
    network: nn.Module,
    samples: Sequence[Sample],
    *,
    classes: Sequence[str],
    recipe: Recipe,
    report: Callable[[int, int], None] | None = None,
    bad: Callable[[BadVideo], None] | None = None,
) -> Report:
    """Test a network on labelled videos.

    Args:
        network: clips [B, T, 3, H, W] → logits, on the device that is to compute. Left in evaluation mode.
        samples: what `annotation.read_split` found.
        classes: names in the order of the logits.
        recipe: its model's frames, its eval section, and of its data sampling, workers and what is done about
            bad files count.
        report: is told how many videos are done, of how many.
        bad: is told of each video that could not be read, which is left out.

    Raises:
        VideoError: a video could not be read, and recipe.data.bad_files is "strict".
        ValueError: there are no videos, or too few that can be read; or a worker hangs or died.
    """
    if not samples:
        raise ValueError("no videos to test on")
    eval = recipe.eval
    device = next(network.parameters()).device
    clips = EvalClips(samples, recipe.data, eval, frames=recipe.model.frames)
    videos = max(1, eval.batch // (eval.clips * eval.crops))
    scores = []
    network.eval()
    with Feed(clips, batch=videos, data=recipe.data, device=device, report=bad) as feed:
        for views, _ in feed:
            scores.append(video_scores(network, views, eval=eval, precision=recipe.optim.precision))
            if report:
                report(sum(map(len, scores)) + len(feed.bad), len(samples))
    if not scores:
        raise ValueError(f"none of the {len(samples)} videos can be read")
    good = tuple(sample for number, sample in enumerate(samples) if number not in feed.bad)
    return Report(good, tuple(classes), torch.cat(scores), tuple(feed.bad.values()))


@torch.inference_mode()
def video_scores(
    network: nn.Module,
    views: torch.Tensor,
    *,
    eval: Eval,
    precision: Literal["float32", "bfloat16"] = "float32",
) -> torch.Tensor:
    """Probabilities [B, classes] on the CPU, from uint8 views [B, V·crops, T, 3, S, S] of B videos."""
    device = next(network.parameters()).device
    logits = []
    for part in views.flatten(0, 1).split(eval.batch):
        with autocast(device, precision):
            logits.append(network(normalise(part.to(device, non_blocking=True))).float())
    return metrics.fuse(torch.cat(logits).unflatten(0, views.shape[:2]), how=eval.fuse).cpu()

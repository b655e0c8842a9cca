"""Testing: V clips × crops of every video, fused into one score a video.

test = merge(score(share 1), score(share 2), …): several processes can each score a share of the videos.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from tanet import metrics
from tanet.annotation import Sample
from tanet.datasets import EvalClips
from tanet.device import autocast
from tanet.feed import BadVideo, Feed, check_bad
from tanet.recipe import Eval, Recipe
from tanet.transforms import normalise
from tanet.video import VideoError

Precision = Literal["float32", "bfloat16"]


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


@dataclass(frozen=True)
class Share:
    """What one process found of its share of the videos; it can be sent to another."""

    numbers: tuple[int, ...]
    """Of the samples that were scored."""
    scores: torch.Tensor
    """Their probabilities [videos, classes]."""
    bad: dict[int, VideoError]
    """Why the other samples could not be read, by their numbers."""


def test(
    network: nn.Module,
    samples: Sequence[Sample],
    *,
    classes: Sequence[str],
    recipe: Recipe,
    report: Callable[[int, int], None] | None = None,
    bad: Callable[[BadVideo], None] | None = None,
    note: Callable[[str], None] | None = None,
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
        note: is told a line where fewer views go through the network together than was asked for.

    Raises:
        VideoError: a video could not be read, and recipe.data.bad_files is "strict".
        ValueError: there are no videos, or too few that can be read; or a worker hangs or died.
        torch.OutOfMemoryError: the GPU has too little memory for one view.
    """
    if not samples:
        raise ValueError("no videos to test on")
    share = score(network, samples, recipe=recipe, report=report, bad=bad, note=note)
    return merge([share], samples, classes=classes, max_bad=recipe.data.max_bad)


def score(
    network: nn.Module,
    samples: Sequence[Sample],
    *,
    recipe: Recipe,
    numbers: Iterable[int] | None = None,
    report: Callable[[int, int], None] | None = None,
    bad: Callable[[BadVideo], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> Share:
    """Score some of the samples: those of these numbers, by default all; otherwise as `test`.

    recipe.data.max_bad is a part of all samples here too: whoever scores several shares checks their sum
    (`merge`), since a small share may well have more than its part of the bad ones.
    """
    wanted = range(len(samples)) if numbers is None else tuple(numbers)
    if not wanted:
        return Share((), torch.empty(0, 0), {})
    eval = recipe.eval

    def tell(video: BadVideo) -> None:
        if bad:
            bad(BadVideo(wanted[video.number], video.error))

    device = next(network.parameters()).device
    clips = EvalClips([samples[number] for number in wanted], recipe.data, eval, frames=recipe.model.frames)
    videos = max(1, eval.batch // (eval.clips * eval.crops))
    scorer = Scorer(network, eval=eval, precision=recipe.optim.precision, note=note)
    found: list[torch.Tensor] = []
    network.eval()
    with Feed(clips, batch=videos, data=recipe.data, device=device, videos=len(samples), report=tell) as feed:
        for views, _ in feed:
            assert isinstance(views, torch.Tensor)  # EvalClips makes no others
            found.append(scorer(views))
            if report:
                report(sum(map(len, found)) + len(feed.bad), len(wanted))
    return Share(
        tuple(number for place, number in enumerate(wanted) if place not in feed.bad),
        torch.cat(found) if found else torch.empty(0, 0),
        {wanted[place]: error for place, error in feed.bad.items()},
    )


def merge(
    shares: Iterable[Share], samples: Sequence[Sample], *, classes: Sequence[str], max_bad: float = 1.0
) -> Report:
    """What all shares found together.

    Args:
        shares: of which each sample is in one.
        samples: all of them.
        classes: names in the order of the logits.
        max_bad: part of the samples that may be bad in all shares together.

    Raises:
        ValueError: a sample is in no share, or in two; or too many of them can not be read, or all.
    """
    scores: dict[int, torch.Tensor] = {}
    bad: dict[int, VideoError] = {}
    for share in shares:
        for number in (*share.numbers, *share.bad):
            if number in scores or number in bad:
                raise ValueError(f"{samples[number].path} was scored twice")
        scores.update(zip(share.numbers, share.scores, strict=True))
        bad |= share.bad
    if absent := set(range(len(samples))) - scores.keys() - bad.keys():
        raise ValueError(f"{samples[min(absent)].path} was not scored")
    check_bad(bad, videos=len(samples), max_bad=max_bad)
    if not scores:
        raise ValueError(f"none of the {len(samples)} videos can be read")
    good = sorted(scores)
    return Report(
        tuple(samples[number] for number in good),
        tuple(classes),
        torch.stack([scores[number] for number in good]),
        {samples[number].path: bad[number] for number in sorted(bad)},
    )


class Scorer:
    """Views uint8 [B, V·crops, T, 3, S, S] of B videos → probabilities [B, classes] on the CPU.

    At most `eval.batch` views go through the network together. Where a GPU has too little memory for them,
    half as many do from then on; the scores depend on that by rounding alone.

    Args:
        network: clips [B, T, 3, H, W] → logits, in evaluation mode.
        eval: its `fuse` and `batch` count.
        precision: on a GPU.
        note: is told a line when there are fewer.

    Raises:
        torch.OutOfMemoryError: the GPU has too little memory for one view.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        eval: Eval,
        precision: Precision,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self.network, self.eval, self.note = network, eval, note
        self.precision: Precision = precision
        self.batch = eval.batch
        self.device = next(network.parameters()).device

    @torch.inference_mode()
    def __call__(self, views: torch.Tensor) -> torch.Tensor:
        flat = views.flatten(0, 1)  # [B·V·crops, T, 3, S, S]
        while (logits := self._logits(flat)) is None:
            self.batch = min(self.batch, len(flat)) // 2
            torch.cuda.empty_cache()
            if self.note:
                self.note(f"too little memory: from now on {self.batch} views go through together")
        return metrics.fuse(logits.unflatten(0, views.shape[:2]), how=self.eval.fuse).cpu()

    def _logits(self, views: torch.Tensor) -> torch.Tensor | None:
        """[B·V·crops, classes]; None if the memory does not suffice. What took it is free by then."""
        logits = []
        try:
            for part in views.split(self.batch):
                with autocast(self.device, self.precision):
                    logits.append(self.network(normalise(part.to(self.device, non_blocking=True))).float())
        except torch.OutOfMemoryError:
            if min(self.batch, len(views)) == 1:
                raise
            return None
        return torch.cat(logits)


def video_scores(
    network: nn.Module, views: torch.Tensor, *, eval: Eval, precision: Precision = "float32"
) -> torch.Tensor:
    """Probabilities [B, classes] on the CPU, from uint8 views [B, V·crops, T, 3, S, S] of B videos."""
    return Scorer(network, eval=eval, precision=precision)(views)

"""Testing: scores of videos, each averaged over its V clips × crops.

evaluate(network, samples, …)                        in one process
merge_scores([score_samples(…, numbers=…), …], …)    in several processes, each with a share of the videos
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tanet.data.dataset import EvalClips
from tanet.data.loader import BadVideo, ClipLoader, check_bad_fraction
from tanet.data.samples import Sample
from tanet.errors import UserError
from tanet.evaluation.report import Report
from tanet.evaluation.scorer import Scorer
from tanet.recipes.recipe import Recipe
from tanet.runtime.events import OnEvent, ignore
from tanet.video import VideoError


@dataclass(frozen=True)
class VideosDone:
    """Event: progress of a test, in videos."""

    done: int
    total: int


@dataclass(frozen=True)
class PartialScores:
    """Scores of a share of the videos, which one process can send to another."""

    numbers: tuple[int, ...]
    """Indices of the samples that were scored."""
    scores: torch.Tensor
    """Class probabilities of these samples, [videos, classes]."""
    bad: dict[int, VideoError]
    """Errors of the samples that could not be read, by index."""


def evaluate(
    network: nn.Module,
    samples: Sequence[Sample],
    *,
    classes: Sequence[str],
    recipe: Recipe,
    on_event: OnEvent = ignore,
) -> Report:
    """Test a network on labelled videos.

    Args:
        network: clips [B, T, 3, H, W] → logits, on the device to use. It is left in evaluation mode.
        samples: labelled videos, as returned by `read_split`.
        classes: class names in the order of the logits.
        recipe: its model's frames, its precision, its eval section, and the sampling, workers and bad-file
            settings of its data section are used.
        on_event: called with `VideosDone`, each `BadVideo`, and a `Note` when memory runs short.

    Raises:
        VideoError: a video cannot be read, and recipe.data.bad_files is "strict".
        UserError: there are no videos, too few can be read, or a worker hangs or has died.
        torch.OutOfMemoryError: the GPU has too little memory for one view.
    """
    if not samples:
        raise UserError("no videos to test on")
    share = score_samples(network, samples, recipe=recipe, on_event=on_event)
    return merge_scores([share], samples, classes=classes, max_bad=recipe.data.max_bad)


def score_samples(
    network: nn.Module,
    samples: Sequence[Sample],
    *,
    recipe: Recipe,
    numbers: Iterable[int] | None = None,
    on_event: OnEvent = ignore,
) -> PartialScores:
    """Score the samples with the given indices, by default all. The other arguments are those of `evaluate`.

    `recipe.data.max_bad` is a fraction of all samples, not only of those with the given indices. If several
    processes score shares, the bad videos may be spread unevenly, so `merge_scores` checks their total.
    """
    wanted = range(len(samples)) if numbers is None else tuple(numbers)
    if not wanted:
        return PartialScores((), torch.empty(0, 0), {})
    eval = recipe.eval

    def pass_on(event: object) -> None:
        # The loader's indices count within the share; those of events count within all samples.
        if isinstance(event, BadVideo):
            event = BadVideo(wanted[event.number], event.error)
        on_event(event)

    device = next(network.parameters()).device
    clips = EvalClips([samples[number] for number in wanted], recipe.data, eval, frames=recipe.model.frames)
    videos = max(1, eval.batch // (eval.clips * eval.crops))
    scorer = Scorer(network, eval=eval, precision=recipe.optim.precision, on_event=on_event)
    scores: list[torch.Tensor] = []
    network.eval()
    with ClipLoader(
        clips, batch=videos, data=recipe.data, device=device, videos=len(samples), on_event=pass_on
    ) as loader:
        for batch in loader:
            assert isinstance(batch.views, torch.Tensor)  # EvalClips yields only tensors
            scores.append(scorer(batch.views))
            on_event(VideosDone(sum(map(len, scores)) + len(loader.bad), len(wanted)))
    return PartialScores(
        tuple(number for place, number in enumerate(wanted) if place not in loader.bad),
        torch.cat(scores) if scores else torch.empty(0, 0),
        {wanted[place]: error for place, error in loader.bad.items()},
    )


def merge_scores(
    shares: Iterable[PartialScores],
    samples: Sequence[Sample],
    *,
    classes: Sequence[str],
    max_bad: float = 1.0,
) -> Report:
    """Merge the scores of several shares into one report.

    Args:
        shares: scores of the shares; each sample must be in exactly one.
        samples: all samples.
        classes: class names in the order of the logits.
        max_bad: largest fraction of all samples that may be unreadable.

    Raises:
        ValueError: a sample is in no share, or in two.
        UserError: too many samples cannot be read, or none can.
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
    check_bad_fraction(bad, videos=len(samples), max_bad=max_bad)
    if not scores:
        raise UserError(f"none of the {len(samples)} videos can be read")
    good = sorted(scores)
    return Report(
        tuple(samples[number] for number in good),
        tuple(classes),
        torch.stack([scores[number] for number in good]),
        {samples[number].path: bad[number] for number in sorted(bad)},
    )

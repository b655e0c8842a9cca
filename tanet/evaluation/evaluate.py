"""Testing: a network scores the views (clips × crops) of each video, and the scores are averaged.

Call `evaluate` to test in one process:

    evaluate(network, samples, …)

To test in several processes, let each process score a share of the videos, and merge the shares:

    merge_scores([score_samples(…, numbers=…), …], …)
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
    """Event: a test has finished `done` of its `total` videos, including unreadable videos."""

    done: int
    total: int


@dataclass(frozen=True)
class PartialScores:
    """Scores of a share of the videos. One process computes the scores and can send them to another."""

    numbers: tuple[int, ...]
    """Indices of the samples that were scored."""
    scores: torch.Tensor
    """Class probabilities of the scored samples, [videos, classes]."""
    bad: dict[int, VideoError]
    """Samples that could not be read: index of the sample → error."""


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
        network: module that maps clips [B, T, 3, H, W] to logits. The test runs on the device of its
            parameters, and leaves the module in evaluation mode.
        samples: labelled videos, as returned by `read_split`.
        classes: class names in the order of the logits.
        recipe: the test uses `model.frames`, `optim.precision`, the `eval` section, and the settings of the
            `data` section for sampling, workers and bad files.
        on_event: called with a `VideosDone` after each batch, with a `BadVideo` for each unreadable video,
            and with a `Note` if the GPU runs out of memory.

    Raises:
        VideoError: a video cannot be read, and recipe.data.bad_files is "strict".
        UserError: there are no videos, too many videos are unreadable, or a worker process hangs or died.
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
    """Score the samples with the indices `numbers` (default: all samples).

    For the other arguments, see `evaluate`. The call fails if the unreadable videos are more than the
    fraction `recipe.data.max_bad` of all `samples`, not only of `numbers`. Each process sees only the
    unreadable videos of its own share, so `merge_scores` checks the total over all shares.
    """
    return score_networks([network], samples, recipe=recipe, numbers=numbers, on_event=on_event)[0]


def score_networks(
    networks: Sequence[nn.Module],
    samples: Sequence[Sample],
    *,
    recipe: Recipe,
    numbers: Iterable[int] | None = None,
    on_event: OnEvent = ignore,
) -> list[PartialScores]:
    """Score samples by several networks on one device. Each video is read once; see `score_samples`."""
    wanted = range(len(samples)) if numbers is None else tuple(numbers)
    if not wanted:
        return [PartialScores((), torch.empty(0, 0), {}) for _ in networks]
    eval = recipe.eval

    def pass_on(event: object) -> None:
        # The loader counts videos within this share. Translate this number to the index within all samples.
        if isinstance(event, BadVideo):
            event = BadVideo(wanted[event.number], event.error)
        on_event(event)

    device = next(networks[0].parameters()).device
    model = recipe.model
    clips = EvalClips(
        [samples[number] for number in wanted],
        recipe.data,
        eval,
        frames=model.frames,
        flows=model.flows_per_frame,
    )
    # With eval.frames, clips of different videos may differ in length and cannot be in one batch.
    videos = 1 if eval.frames else max(1, eval.batch // (eval.clips * eval.crops))
    precision = recipe.optim.precision
    scorers = [Scorer(n.eval(), eval=eval, precision=precision, on_event=on_event) for n in networks]
    scores: list[list[torch.Tensor]] = [[] for _ in networks]
    with ClipLoader(
        clips, batch=videos, data=recipe.data, device=device, videos=len(samples), on_event=pass_on
    ) as loader:
        for batch in loader:
            assert isinstance(batch.views, torch.Tensor)  # `EvalClips` returns all views as one tensor
            for scorer, own in zip(scorers, scores, strict=True):
                own.append(scorer(batch.views, boxes=batch.boxes))
            on_event(VideosDone(sum(map(len, scores[0])) + len(loader.bad), len(wanted)))
    found = tuple(number for place, number in enumerate(wanted) if place not in loader.bad)
    bad = {wanted[place]: error for place, error in loader.bad.items()}
    return [PartialScores(found, torch.cat(own) if own else torch.empty(0, 0), bad) for own in scores]


def merge_scores(
    shares: Iterable[PartialScores],
    samples: Sequence[Sample],
    *,
    classes: Sequence[str],
    max_bad: float = 1.0,
) -> Report:
    """Merge the scores of several shares into one report.

    Args:
        shares: the scores of each share. Each sample must be in exactly one share.
        samples: all samples.
        classes: class names in the order of the logits.
        max_bad: largest fraction of all samples that may be unreadable.

    Raises:
        ValueError: a sample is in no share, or in two shares.
        UserError: too many samples are unreadable, or all samples are.
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

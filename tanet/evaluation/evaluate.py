"""Testing: V clips × crops of every video, fused into one score a video.

test = merge(score(share 1), score(share 2), …): several processes can each score a share of the videos.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tanet.data.dataset import EvalClips
from tanet.data.loader import BadVideo, Feed, check_bad
from tanet.data.samples import Sample
from tanet.evaluation.report import Report
from tanet.evaluation.scorer import Scorer
from tanet.recipes.recipe import Recipe
from tanet.video import VideoError


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

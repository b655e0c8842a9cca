"""Ensembles: the weighted mean of the scores that several models give to the same videos.

    p(video) = Σ_m w_m · p_m(video) / Σ_m w_m        p_m: probabilities of model m

The models may use different numbers of frames and different views. For example, TANet-En (Liu et al.,
ICCV 2021) is the mean of an 8-frame and a 16-frame model, and a two-stream network is the mean of a network
for RGB frames and one for optical flow (late fusion). An ensemble needs only saved scores: the networks do
not run again.
"""

import dataclasses
import math
from collections.abc import Callable, Container, Sequence
from pathlib import Path

import torch

from tanet.data.flow_location import without_video_suffix
from tanet.errors import UserError
from tanet.evaluation.report import Report
from tanet.evaluation.score_files import Scores


def average_models(parts: Sequence[Scores], *, weights: Sequence[float] = ()) -> Scores:
    """Return the weighted mean of the scores of models that were tested on the same videos.

    If a model could not read a video, the result does not include this video.

    Args:
        parts: the scores of each model. A part may itself be the mean of several models.
        weights: one weight for each part; by default, all weights are equal. Only the ratios of the weights
            matter.

    Raises:
        UserError: two parts have different classes, videos or labels; no video could be read by all models;
            or the weights are invalid.
    """
    shares = check_weights(weights, parts=len(parts))
    first = parts[0]
    name_of = _namer(parts)
    unreadable = {name_of(name): error for part in reversed(parts) for name, error in part.unreadable.items()}
    all_keys = _keys(first, name_of)
    kept = [row for row, (name, _) in enumerate(all_keys) if name not in unreadable]
    keys = [all_keys[row] for row in kept]
    if not keys:
        raise UserError(f"no video could be read by all models: {', '.join(part.name for part in parts)}")
    mean = torch.zeros(len(keys), len(first.report.classes))
    for part, share in zip(parts, shares, strict=True):
        same_classes(part.report.classes, first.report.classes, names=(part.name, first.name))
        mean += share * part.report.scores[_rows(part, keys, unreadable, first, name_of)]
    sources = tuple(
        dataclasses.replace(source, weight=source.weight * share)
        for part, share in zip(parts, shares, strict=True)
        for source in part.sources
    )
    samples = tuple(first.report.samples[row] for row in kept)
    bad = {str(Path(first.root) / name): error for name, error in unreadable.items()}
    name = " + ".join(part.name for part in parts)
    return Scores(name, Report(samples, first.report.classes, mean, bad), first.root, sources)


def check_weights(weights: Sequence[float], *, parts: int) -> list[float]:
    """Scale weights so that they sum to 1. If `weights` is empty, all weights are equal.

    Raises:
        UserError: the number of weights is not `parts`, or a weight is not positive and finite.
    """
    weights = weights or [1.0] * parts
    if len(weights) != parts:
        raise UserError(f"{len(weights)} weights for {parts} models: give one per model, or none")
    for weight in weights:
        if not (math.isfinite(weight) and weight > 0):
            raise UserError(f"a weight must be positive, not {weight:g}")
    return [weight / sum(weights) for weight in weights]


Namer = Callable[[str], str]


def _namer(parts: Sequence[Scores]) -> Namer:
    """Return the function that gives a video the same name in all parts.

    Flow of videos/jump/1.mp4 may be in flow/jump/1. So if names differ, and only then, the suffixes of video
    files are left out, provided that the names of a part stay distinct.
    """
    full = [{*part.names, *part.unreadable} for part in parts]
    short = [{without_video_suffix(name) for name in names} for names in full]
    distinct = all(len(own) == len(names) for own, names in zip(short, full, strict=True))
    if distinct and any(names != full[0] for names in full) and all(own == short[0] for own in short):
        return without_video_suffix
    return str


def _keys(part: Scores, name_of: Namer) -> list[tuple[str, int]]:
    """Return the key of each video: its name and its label."""
    return [
        (name_of(name), label) for name, label in zip(part.names, part.report.labels.tolist(), strict=True)
    ]


def _rows(
    part: Scores,
    keys: list[tuple[str, int]],
    unreadable: Container[str],
    first: Scores,
    name_of: Namer,
) -> list[int]:
    """Return the row of each video in the scores of `part`. A key is the name and the label of a video.

    Raises:
        UserError: `part` has other videos or labels.
    """
    places = {key: row for row, key in enumerate(_keys(part, name_of)) if key[0] not in unreadable}
    if odd := sorted(places.keys() ^ set(keys)):
        raise UserError(
            f"{part.name} and {first.name} were not tested on the same videos: {len(odd)} videos are "
            f"in only one of them, or have different labels, for example {odd[0][0]}"
        )
    return [places[key] for key in keys]


def same_classes(theirs: Sequence[str], ours: Sequence[str], *, names: tuple[str, str]) -> None:
    """Check that two models have the same classes in the same order.

    Args:
        theirs: class names of one model.
        ours: class names of the other model.
        names: names of the two models, for the message.

    Raises:
        UserError: the classes differ.
    """
    if tuple(ours) == tuple(theirs):
        return
    if odd := sorted(set(ours) ^ set(theirs)):
        cause = f"{len(theirs)} and {len(ours)}, and '{odd[0]}' is in only one of them"
    else:
        cause = "the same classes, but in another order"
    raise UserError(f"{names[0]} and {names[1]} have different classes: {cause}")

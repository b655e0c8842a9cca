"""Ensembles: averaged scores of models tested on the same videos, each with its own frames and views.

    p(video) = Σ_m w_m · p_m(video) / Σ_m w_m        p_m: probabilities of model m

TANet-En (Liu et al., ICCV 2021) is the mean of an 8- and a 16-frame model. Saved scores are enough; the
networks need not run again.
"""

import dataclasses
import math
from collections.abc import Container, Sequence
from pathlib import Path

import torch

from tanet.errors import UserError
from tanet.evaluation.report import Report
from tanet.evaluation.score_files import Scores


def average_models(parts: Sequence[Scores], *, weights: Sequence[float] = ()) -> Scores:
    """Return the weighted mean of the scores of models that were tested on the same videos.

    A video that one of the models could not read is left out for all.

    Args:
        parts: scores of each model; each may itself be a mean.
        weights: one for each part; by default all are equal. Only their ratios matter.

    Raises:
        UserError: the parts differ in classes or videos, or the weights are invalid; the message says how.
    """
    shares = check_weights(weights, parts=len(parts))
    first = parts[0]
    unreadable = {name: error for part in reversed(parts) for name, error in part.unreadable.items()}
    kept = [row for row, name in enumerate(first.names) if name not in unreadable]
    keys = [_keys(first)[row] for row in kept]
    if not keys:
        raise UserError(f"no video could be read by all of {', '.join(part.name for part in parts)}")
    mean = torch.zeros(len(keys), len(first.report.classes))
    for part, share in zip(parts, shares, strict=True):
        _check_classes(part, first)
        mean += share * part.report.scores[_rows(part, keys, unreadable, first)]
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
    """Return normalised weights, which sum to 1; if none are given, all are equal.

    Raises:
        UserError: there is not exactly one positive weight for each part.
    """
    weights = weights or [1.0] * parts
    if len(weights) != parts:
        raise UserError(f"{len(weights)} weights for {parts} models: give one per model, or none")
    for weight in weights:
        if not (math.isfinite(weight) and weight > 0):
            raise UserError(f"a weight must be positive, not {weight:g}")
    return [weight / sum(weights) for weight in weights]


def _keys(part: Scores) -> list[tuple[str, int]]:
    """Return the keys that identify the videos: name and label."""
    return list(zip(part.names, part.report.labels.tolist(), strict=True))


def _rows(part: Scores, keys: list[tuple[str, int]], unreadable: Container[str], first: Scores) -> list[int]:
    """Return for each key the row of its video in `part`; raise UserError if the videos differ."""
    places = {key: row for row, key in enumerate(_keys(part)) if key[0] not in unreadable}
    if odd := sorted(places.keys() ^ set(keys)):
        raise UserError(
            f"{part.name} and {first.name} were not tested on the same videos: {len(odd)} are in only "
            f"one of them, or have other labels; for instance {odd[0][0]}"
        )
    return [places[key] for key in keys]


def _check_classes(part: Scores, first: Scores) -> None:
    ours, theirs = first.report.classes, part.report.classes
    if ours == theirs:
        return
    if odd := sorted(set(ours) ^ set(theirs)):
        cause = f"{len(theirs)} and {len(ours)}, and '{odd[0]}' is in only one of them"
    else:
        cause = "the same classes, but in another order"
    raise UserError(f"{part.name} and {first.name} have different classes: {cause}")

"""Train a linear classifier on the answers of a teacher: do they reveal a clip's action, and its direction?

    python -m projects.compare.distil ways --answers answers.npz …
    python -m projects.compare.probe answers.npz

A network that learns from a teacher's answers alone (distil.py) learns about directions only if they do. The
classifier sees the logarithms of the teacher's probabilities, standardized. It is trained and tested in
folds by group (folds.py), so that each clip is tested once.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.common import ROOT, head, one_line_errors, write_csv
from projects.compare.distil import read_answers
from projects.compare.folds import assign, group_of
from projects.compare.one_run import order
from tanet.data.samples import Sample
from tanet.evaluation.report import Report

DECAYS = (0.001, 0.01, 0.1)
"""Weight decays. There is a row for each, so none has to be chosen."""
LEAST = 1e-6
"""Probabilities below this are raised to it, so that their logarithms stay close to the others."""


@one_line_errors()
def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("answers", type=Path, help="file that distil.py wrote with --answers")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "distil_probe.csv")
    flags = parser.parse_args(words)
    answers = read_answers(flags.answers)
    clips = [Path(name) for name in answers.clips]
    classes = tuple(sorted({clip.parent.name for clip in clips}))
    samples = tuple(Sample(str(clip), classes.index(clip.parent.name)) for clip in clips)
    labels = torch.tensor([sample.label for sample in samples])
    of_group = assign(clips, folds=flags.folds)
    folds = torch.tensor([of_group[group_of(clip)] for clip in clips])
    inputs = answers.probabilities.double().clamp_min(LEAST).log()
    rows = []
    for decay in DECAYS:
        scores = cross_validated(inputs, labels, folds, decay=decay)
        top1 = (scores.argmax(1) == labels).double().mean().item()
        shares = order(Report(samples, classes, scores))
        found = {name.removeprefix("val_"): shares[name] for name in ("val_action", "val_order")}
        settings = {
            "teacher": Path(answers.teacher).name, "clips": len(clips), "folds": flags.folds, "decay": decay,
        }  # fmt: skip
        rows.append({**head("torch"), **settings, "top1": round(top1, 4), **found})
        print(f"weight decay {decay}: top-1 {top1:.4f}, action {found['action']}, order {found['order']}")
    write_csv(flags.out, rows)
    print(flags.out)


def cross_validated(inputs: Tensor, labels: Tensor, folds: Tensor, *, decay: float) -> Tensor:
    """Return the scores of each clip, [clips, classes], by a classifier that was trained on the other folds.

    Args:
        inputs: [clips, inputs].
        labels: [clips], from 0.
        folds: [clips], the fold of each clip.
        decay: weight decay, see `trained`.
    """
    classes = int(labels.max()) + 1
    scores = inputs.new_empty(len(inputs), classes)
    for fold in folds.unique().tolist():
        rest = folds != fold
        standard = (inputs - inputs[rest].mean(0)) / inputs[rest].std(0).clamp_min(1e-6)
        layer = trained(standard[rest], labels[rest], classes=classes, decay=decay)
        with torch.no_grad():
            scores[~rest] = layer(standard[~rest])
    return scores


def trained(inputs: Tensor, labels: Tensor, *, classes: int, decay: float) -> nn.Linear:
    """Return a linear classifier that minimises the cross-entropy plus decay · Σ w² / 2."""
    layer = nn.Linear(inputs.shape[1], classes, dtype=inputs.dtype)
    nn.init.zeros_(layer.weight)  # the loss is convex, so the start hardly matters
    nn.init.zeros_(layer.bias)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        error = nn.functional.cross_entropy(layer(inputs), labels)
        total = error + decay / 2 * layer.weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return layer


if __name__ == "__main__":
    main()

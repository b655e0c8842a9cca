"""Train a linear classifier on the answers of a teacher: do they reveal a clip's action, and its direction?

    python -m projects.compare.distil ways --answers answers.npz …
    python -m projects.compare.probe answers.npz --out probe.csv

A network that learns from a teacher alone (distil.py) can learn only what the teacher's answers contain. The
classifier sees the logarithms of the teacher's probabilities, standardised. It is trained and tested in folds
by group (folds.py), so that each clip is tested once.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.common import head, one_line_errors, write_csv
from bench.decoded_cache import twin_paths
from bench.flags import at_least, command
from projects.compare.answers import Answers, read_answers
from projects.compare.folds import assign, group_of
from projects.compare.one_run import order
from tanet.data.samples import Sample
from tanet.errors import UserError
from tanet.evaluation.report import Report

DECAYS = (0.001, 0.01, 0.1)
"""Weight decays. There is a row for each, so none has to be chosen."""
LEAST = 1e-6
"""Lower bound for probabilities, so that tiny ones do not dominate the logarithms."""


@one_line_errors()
def main(words: Sequence[str] | None = None) -> None:
    parser = command("projects.compare.probe", __doc__)
    parser.add_argument("answers", type=Path, help="file that distil.py wrote with --answers")
    parser.add_argument("--folds", type=at_least(2), default=5, help="number of folds for cross-validation")
    parser.add_argument("--out", type=Path, required=True, help="CSV file to write")
    flags = parser.parse_args(words)
    answers = read_answers(flags.answers)
    rows = [{**head("torch"), **row} for row in probe(answers, folds=flags.folds)]
    write_csv(flags.out, rows)
    for row in rows:
        print(", ".join(f"{name} {row[name]}" for name in ("decay", "top1", "action", "order", "pairs")))
    print(flags.out)


def probe(answers: Answers, *, folds: int) -> list[dict[str, object]]:
    """Train and test the classifier with each weight decay, and return the columns of the results.

    `top1`, `action` and `order` are about single clips, as in the other results. `pairs` is about clips that
    exist in both directions: the share in which the scores of the two, given the action, tell which is
    which. `same_top` is the share of these clips whose directions get the same top class from the teacher.

    Raises:
        UserError: there are fewer groups than folds or fewer than two classes, or the name of a clip has no
            group.
    """
    clips = [Path(name) for name in answers.clips]
    classes = tuple(sorted({clip.parent.name for clip in clips}))
    if len(classes) < 2:
        raise UserError("a classifier needs clips of two classes or more")
    samples = tuple(Sample(str(clip), classes.index(clip.parent.name)) for clip in clips)
    labels = torch.tensor([sample.label for sample in samples])
    of_group = assign(clips, folds=folds)
    fold_of = torch.tensor([of_group[group_of(clip)] for clip in clips])
    forward, backward = pairs_of(clips)
    tops = answers.probabilities.argmax(1)
    inputs = answers.probabilities.double().clamp_min(LEAST).log()
    rows = []
    for decay in DECAYS:
        scores = cross_validated(inputs, labels, fold_of, decay=decay)
        shares = order(Report(samples, classes, scores))
        lead = scores[forward] - scores[backward]  # [pairs, classes]
        pair_lead = lead.gather(1, labels[forward, None]) - lead.gather(1, labels[backward, None])
        rows.append(
            {
                "teacher": Path(answers.teacher).name,
                "clips": len(clips),
                "folds": folds,
                "decay": decay,
                "top1": share(scores.argmax(1) == labels),
                "action": shares["val_action"],
                "order": shares["val_order"],
                "pairs": share(pair_lead > 0),
                "same_top": share(tops[forward] == tops[backward]),
            }
        )
    return rows


def pairs_of(clips: Sequence[Path]) -> tuple[list[int], list[int]]:
    """Return the positions of clips with both directions: of CLASS/NAME, and of CLASSReversed/NAME."""
    at = {clip: position for position, clip in enumerate(clips)}
    pairs = [pair for pair in dict.fromkeys(map(twin_paths, clips)) if at.keys() >= set(pair)]
    return [at[forward] for forward, _ in pairs], [at[backward] for _, backward in pairs]


def share(right: Tensor) -> float | str:
    """Return the share of true values, rounded; "" if there are no values."""
    return round(right.double().mean().item(), 4) if len(right) else ""


def cross_validated(inputs: Tensor, labels: Tensor, folds: Tensor, *, decay: float) -> Tensor:
    """Return the scores of each clip, [clips, classes], from a classifier trained on the other folds.

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
        std = inputs[rest].std(0)
        standard = (inputs - inputs[rest].mean(0)) / torch.where(std > 0, std, 1)  # a constant input stays 0
        layer = trained(standard[rest], labels[rest], classes=classes, decay=decay)
        with torch.no_grad():
            scores[~rest] = layer(standard[~rest])
    return scores


def trained(inputs: Tensor, labels: Tensor, *, classes: int, decay: float) -> nn.Linear:
    """Train a linear classifier: minimise the cross-entropy plus decay · Σ w² / 2 in at most 200 steps."""
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

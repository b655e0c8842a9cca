"""Train 2D networks with temporal modules to imitate another network, the teacher, without labels.

    python -m projects.compare.distil ways --teacher i3d-k400 --weights FILE --out distilled
    python -m projects.compare.run --benchmark ways --data ways --folds 5 --only none tsm i3d tam \\
        --init distilled --out distilled.csv

Do modules differ more if they start from a network that has seen motion, not from ImageNet alone? The teacher
gives the middle view of each clip the probabilities p of its own classes. The student sees random views of
the same clip, and gives probabilities q. Its loss is the cross-entropy of q with softened p (Hinton et al.
2015, without the label term):

    loss = - Σ_c p'_c log q_c,    p'_c = p_c^(1/τ) / Σ_d p_d^(1/τ)

The teacher answers for each clip forwards and backwards. All students see the same batches (side_by_side.py).
The weights in --out start trainings of the comparison. A student sees all clips, including those that a fold
later tests on, but no labels. probe.py measures what a linear classifier finds in the teacher's answers.
"""

import argparse
import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from bench.common import one_line_errors
from bench.decoded_cache import decoded, kept_open
from projects.compare.cases import BENCHMARKS, STATIC, cases, choose
from projects.compare.jobs import check_starts
from projects.compare.side_by_side import in_teams, train_side_by_side
from tanet.checkpoints import checkpoint
from tanet.data.class_folders import videos_by_class
from tanet.data.samples import Sample, Split
from tanet.errors import UserError
from tanet.evaluation.evaluate import score_samples
from tanet.runtime.device import pick_device
from tanet.runtime.files import write_atomically

CASES = ("none", "tsm", "i3d", "tam", "tam static_kernel=shift")


DAMAGED = (
    *(EOFError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)
"""Errors of NumPy for files of other kinds, and for damaged files."""


@dataclass(frozen=True)
class Answers:
    """What a teacher says about clips."""

    clips: tuple[str, ...]
    """Paths of the clips, relative to the data set: CLASS/NAME."""
    probabilities: torch.Tensor
    """[clips, classes]"""
    classes: tuple[str, ...]
    """The teacher's classes."""
    teacher: str
    """Checkpoint or name of published weights."""


STOPPED = "stopped; students in training are lost. With --answers, finished answers of the teacher are kept"


@one_line_errors(stopped=STOPPED)
def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", help="folder of videos by class; the classes are not used")
    parser.add_argument("--teacher", default="i3d-k400", help="checkpoint or name of published weights")
    parser.add_argument(
        "--answers", type=Path, help="file of the teacher's answers: read if it exists, otherwise written"
    )
    parser.add_argument("--weights", default="", help="ImageNet weights of the student's 2D network")
    parser.add_argument("--only", nargs="+", default=list(CASES), help="cases, as in run.py")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--temperature", type=float, default=2.0, help="τ")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--no-graph", action="store_true", help="train without CUDA graphs")
    parser.add_argument("--out", type=Path, required=True, help="folder for CASE.safetensors")
    distil(parser.parse_args(words))


def distil(flags: argparse.Namespace) -> None:
    """Train a network for each case, and save its checkpoint.

    Raises:
        UserError: there is no such case, the teacher or the weights cannot be read, the answers do not fit
            (see `answers_of`), or a loss became infinite or NaN.
        OSError: a file cannot be written.
        VideoError: a clip cannot be read.
        SystemExit, Interrupted: see `train_side_by_side`.
    """
    usual = BENCHMARKS["ways"]
    warmup = min(usual.optim.warmup, flags.epochs / 4)
    optim = replace(usual.optim, epochs=flags.epochs, warmup=warmup, smoothing=0.0)
    recipes = {
        case.name: replace(usual, model=replace(case.model, weights=flags.weights), optim=optim)
        for case in choose(cases(("2", STATIC), usual), flags.only)
    }
    # The teacher's classes are not known yet, and the weights have no classifier.
    check_starts(list(recipes.values()), ("any", "other"))
    flags.out.mkdir(parents=True, exist_ok=True)
    with decoded(flags.data, one_file=True) as cache, kept_open():
        clips, _ = videos_by_class(cache.root)
        files = [str(clip.path) for clip in clips]
        answers = answers_of(flags, cache.root, files)
        targets = softened(answers.probabilities, temperature=flags.temperature)
        print(f"{len(files)} clips; entropy of the targets {entropy(targets):.2f} nats", flush=True)
        data = replace(usual.data, root=str(cache.root), workers=flags.workers, transform_on="device")
        split = Split(tuple(Sample(file, label=0) for file in files), (), answers.classes)
        for team in in_teams(list(recipes)):
            own = [replace(recipes[name], data=data) for name in team]
            students = train_side_by_side(own, split, targets=targets, graph=not flags.no_graph)
            for name, recipe, student in zip(team, own, students, strict=True):
                path = flags.out / f"{name}.safetensors"
                checkpoint.save(
                    path, checkpoint.Checkpoint(student.network.cpu().eval(), recipe, answers.classes)
                )
                agreement = f"the teacher's top class on {student.top1:.0%} of the views"
                print(f"{path}: loss {student.loss:.3f}, {agreement}", flush=True)


def answers_of(flags: argparse.Namespace, root: Path, files: Sequence[str]) -> Answers:
    """Return the teacher's answers: read the file --answers if it exists, otherwise compute and write it.

    Raises:
        UserError: the file is not one of answers, or has answers of another teacher, or about other clips.
        OSError: the file cannot be read or written.
    """
    names = tuple(str(Path(file).relative_to(root)) for file in files)
    if flags.answers and flags.answers.exists():
        found = read_answers(flags.answers)
        if found.clips != names or found.teacher != flags.teacher:
            raise UserError(
                f"{flags.answers} has answers of '{found.teacher}' about {len(found.clips)} clips, "
                "not these; give another file"
            )
        return found
    teacher = checkpoint.load(flags.teacher, device=pick_device())
    recipe = replace(
        teacher.recipe,
        data=replace(teacher.recipe.data, workers=flags.workers, bad_files="strict"),
        eval=replace(teacher.recipe.eval, clips=1, crops=1),
    )
    answers = score_samples(teacher.network, [Sample(file, 0) for file in files], recipe=recipe).scores
    if flags.answers:
        file = io.BytesIO()
        np.savez(file, answers=answers.numpy(), clips=names, classes=teacher.classes, teacher=flags.teacher)
        write_atomically(flags.answers, file.getvalue())
    return Answers(names, answers, tuple(teacher.classes), flags.teacher)


def read_answers(path: Path) -> Answers:
    """Read a file of answers, which `--answers` writes.

    Raises:
        UserError: there is no such file, or it is not one of answers.
        OSError: the file cannot be read.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file; write it with projects.compare.distil --answers")
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            found = Answers(
                clips=tuple(arrays["clips"].tolist()),
                probabilities=torch.from_numpy(arrays["answers"]),
                classes=tuple(arrays["classes"].tolist()),
                teacher=arrays["teacher"].item(),
            )
    except DAMAGED as error:
        raise UserError(f"{path}: not a file of answers, or damaged; delete it or give another") from error
    if found.probabilities.shape != (len(found.clips), len(found.classes)):
        raise UserError(f"{path}: does not have the answers of all clips; delete it or give another")
    return found


def softened(answers: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """Return softened probabilities, [clips, classes]."""
    return (answers.clamp_min(1e-12).log() / temperature).softmax(1)


def entropy(targets: torch.Tensor) -> float:
    """Return the mean entropy of the targets in nats, the least possible loss."""
    return float(-(targets * targets.clamp_min(1e-12).log()).sum(1).mean())


if __name__ == "__main__":
    main()

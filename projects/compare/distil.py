"""Train 2D networks with temporal modules to imitate another network, the teacher, without labels.

    python -m projects.compare.distil ways --teacher i3d-k400 --weights FILE --out distilled
    python -m projects.compare.run --benchmark ways --data ways --folds 5 --only none tsm i3d tam \\
        --init distilled --out distilled.csv

Do modules differ more if they start from a network that has seen motion, not from ImageNet alone? For the
middle view of each clip, the teacher computes probabilities p of its (the teacher's) classes. The student
sees random views of the same clip, and computes probabilities q of the same classes. Its loss is the
cross-entropy of q with softened p (Hinton et al. 2015, without the label term):

    loss = - Σ_c p'_c log q_c,    p'_c = p_c^(1/τ) / Σ_d p_d^(1/τ)

The teacher answers for each clip forwards and backwards. All students see the same batches (side_by_side.py).
Trainings of the comparison then start from the weights in --out. A student sees all clips, including those
that a fold later tests on, but no labels. probe.py measures what a linear classifier finds in the teacher's
answers.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from bench.common import one_line_errors
from bench.decoded_cache import decoded, kept_open
from bench.flags import above_zero, at_least, command
from projects.compare.answers import Answers, read_answers, write_answers
from projects.compare.cases import BENCHMARKS, STATIC, cases, choose
from projects.compare.jobs import check_starts
from projects.compare.side_by_side import in_teams, train_side_by_side
from tanet.checkpoints import checkpoint
from tanet.data.class_folders import videos_by_class
from tanet.data.samples import Sample, Split
from tanet.errors import UserError
from tanet.evaluation.evaluate import score_samples
from tanet.recipes.recipe import Recipe
from tanet.runtime.device import pick_device
from tanet.runtime.files import check_outputs, make_folder
from tanet.video import ARRAY_SUFFIX

CASES = ("none", "tsm", "i3d", "tam", "tam static_kernel=shift")
CHUNK = 50
"""Number of clips after which the teacher's answers are written to --answers again."""
STOPPED = (
    "stopped; networks that were being trained are lost. "
    f"With --answers, that file keeps the teacher's answers, except for at most the last {CHUNK}"
)


@one_line_errors(stopped=STOPPED)
def main(words: Sequence[str] | None = None) -> None:
    parser = command("projects.compare.distil", __doc__)
    parser.add_argument("data", type=Path, help="folder of videos by class; the classes are not used")
    parser.add_argument("--teacher", default="i3d-k400", help="checkpoint or name of published weights")
    parser.add_argument(
        "--answers",
        type=Path,
        help="file for the teacher's answers: written while it answers, and read the next time",
    )
    parser.add_argument(
        "--weights", default="", help="ImageNet weights of the students' 2D network (default: random weights)"
    )
    parser.add_argument("--only", nargs="+", default=list(CASES), help="cases, as in run.py")
    parser.add_argument("--epochs", type=at_least(1), default=30, help="passes over the clips")
    parser.add_argument(
        "--temperature", type=above_zero, default=2.0, help="τ: above 1, small probabilities count more"
    )
    parser.add_argument("--workers", type=at_least(0), default=4, help="processes that load clips")
    parser.add_argument("--no-graph", action="store_true", help="train without CUDA graphs")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for CASE.safetensors; finished files in it are kept"
    )
    distil(parser.parse_args(words))


def distil(flags: argparse.Namespace) -> None:
    """Train a network for each case, and save its checkpoint.

    Raises:
        UserError: there is no such case, the teacher or the weights cannot be read, the answers do not fit
            (see `answers_of`), a folder cannot be written, or a loss became infinite or NaN.
        OSError: a file cannot be written.
        VideoError: a clip cannot be read.
        SystemExit, Interrupted: see `train_side_by_side`.
    """
    usual = BENCHMARKS["ways"]
    warmup = min(usual.optim.warmup, flags.epochs / 4)
    optim = replace(usual.optim, epochs=flags.epochs, warmup=warmup, smoothing=0.0)
    recipes: dict[Path, Recipe] = {}
    for case in choose(cases(("2", STATIC), usual), flags.only):
        path = flags.out / f"{case.name}.safetensors"
        if path.exists():
            print(f"kept: {path} (to train it again, delete it)", flush=True)
        else:
            recipes[path] = replace(usual, model=replace(case.model, weights=flags.weights), optim=optim)
    if not recipes:
        return
    # The teacher's classes are not known yet, and the weights have no classifier.
    check_starts(list(recipes.values()), ("any", "other"))
    videos_by_class(flags.data)  # now, so that errors name this folder and not that of the decoded videos
    make_folder(flags.out)
    check_outputs(flags.answers)
    with decoded(flags.data, one_file=True) as cache, kept_open():
        clips, _ = videos_by_class(cache.root)
        files = [str(clip.path) for clip in clips]
        answers = answers_of(flags, cache.root, files)
        targets = softened(answers.probabilities, temperature=flags.temperature)
        print(f"{len(files)} clips; entropy of the targets {entropy(targets):.2f} nats", flush=True)
        data = replace(usual.data, root=str(cache.root), workers=flags.workers, transform_on="device")
        split = Split(tuple(Sample(file, label=0) for file in files), (), answers.classes)
        for team in in_teams(list(recipes)):
            print(f"training {', '.join(path.stem for path in team)}; epochs: {flags.epochs}", flush=True)
            own = [replace(recipes[path], data=data) for path in team]
            students = train_side_by_side(own, split, targets=targets, graph=not flags.no_graph)
            for path, recipe, student in zip(team, own, students, strict=True):
                network = student.network.cpu().eval()
                checkpoint.save(path, checkpoint.Checkpoint(network, recipe, answers.classes))
            for path, student in zip(team, students, strict=True):
                agreement = f"same top class as the teacher on {student.top1:.0%} of the views"
                print(f"{path}: loss {student.loss:.3f}, {agreement}", flush=True)


def answers_of(flags: argparse.Namespace, root: Path, files: Sequence[str]) -> Answers:
    """Return the teacher's answers: read those in the file --answers, and compute the others.

    Computed answers are added to the file, if there is one.

    Raises:
        UserError: the file is not a file of answers, or has answers of another teacher, or about other clips.
        OSError: the file cannot be read or written.
    """
    names = tuple(str(Path(file).relative_to(root)).removesuffix(ARRAY_SUFFIX) for file in files)
    found = Answers((), torch.empty(0), (), flags.teacher)
    if flags.answers and flags.answers.exists():
        found = read_answers(flags.answers)
        if found.teacher != flags.teacher:
            raise UserError(
                f"{flags.answers} has answers of the teacher '{found.teacher}', not of '{flags.teacher}'; "
                "give another file or teacher"
            )
        if found.clips != names[: len(found.clips)]:
            raise UserError(f"{flags.answers} has answers about other clips; give another file")
    if len(found.clips) == len(names):
        return found
    teacher = checkpoint.load(flags.teacher, device=pick_device())
    recipe = replace(
        teacher.recipe,
        data=replace(teacher.recipe.data, workers=flags.workers, bad_files="strict"),
        eval=replace(teacher.recipe.eval, clips=1, crops=1),
    )
    parts = [found.probabilities] if found.clips else []
    for start in range(len(found.clips), len(names), CHUNK):
        samples = [Sample(file, 0) for file in files[start : start + CHUNK]]
        parts.append(score_samples(teacher.network, samples, recipe=recipe).scores)
        done = start + len(samples)
        found = Answers(names[:done], torch.cat(parts), tuple(teacher.classes), flags.teacher)
        if flags.answers:
            write_answers(flags.answers, found)
        print(f"the teacher has answered {done} of {len(names)} clips", flush=True)
    return found


def softened(answers: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """Return softened probabilities, [clips, classes]."""
    return (answers.clamp_min(1e-12).log() / temperature).softmax(1)


def entropy(targets: torch.Tensor) -> float:
    """Return the mean entropy of the targets in nats, the least possible loss."""
    return float(-(targets * targets.clamp_min(1e-12).log()).sum(1).mean())


if __name__ == "__main__":
    main()

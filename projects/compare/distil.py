"""Train 2D networks with temporal modules to imitate another network, the teacher, without labels.

    python -m projects.compare.distil ways --teacher i3d-k400 --weights FILE --out distilled
    python -m projects.compare.run --benchmark ways --data ways --folds 5 --only none tsm i3d tam \\
        --init distilled --out results/ways_distilled.csv

Do modules differ more if they start from a network that has seen motion, not from ImageNet alone? The teacher
gives the middle view of each clip the probabilities p of its own classes. The student sees random views of
the same clip, and gives probabilities q. Its loss is the cross-entropy of q with softened p (Hinton et al.
2015, without the label term):

    loss = - Σ_c p'_c log q_c,    p'_c = p_c^(1/τ) / Σ_d p_d^(1/τ)

The teacher answers for each clip forwards and backwards. The weights in --out start trainings of the
comparison. The student sees all clips, including those that a fold later tests on, but no labels.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bench.decoded_cache import decoded
from projects.compare.cases import BENCHMARKS, STATIC, cases, choose
from tanet.checkpoints import checkpoint
from tanet.checkpoints.image_weights import load_backbone_weights
from tanet.data.class_folders import videos_by_class
from tanet.data.dataset import EpochSampler, TrainClips
from tanet.data.loader import ClipLoader
from tanet.data.prefetch import prefetch_to_device
from tanet.data.samples import Sample
from tanet.errors import UserError
from tanet.evaluation.evaluate import score_samples
from tanet.models.factory import build
from tanet.recipes.recipe import Recipe
from tanet.runtime.device import autocast, pick_device
from tanet.training.optimizer import make_optimizer
from tanet.training.schedule import lr_at, set_lr
from tanet.video import VideoError

CASES = ("none", "tsm", "i3d", "tam", "tam static_kernel=shift")


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
    parser.add_argument("--out", type=Path, required=True, help="folder for CASE.safetensors")
    flags = parser.parse_args(words)
    try:
        distil(flags)
    except (ValueError, VideoError) as error:
        raise SystemExit(str(error)) from error


def distil(flags: argparse.Namespace) -> None:
    """Train a network for each case, and save its checkpoint.

    Raises:
        ValueError: there is no such case.
        UserError: see `answers_of`; or the teacher or the weights cannot be read.
        VideoError: a clip cannot be read.
    """
    usual = BENCHMARKS["ways"]
    chosen = choose(cases(("2", STATIC), usual), flags.only)
    with decoded(flags.data, one_file=True) as cache:
        clips, _ = videos_by_class(cache.root)
        files = [str(clip.path) for clip in clips]
        answers, classes = answers_of(flags, cache.root, files)
        targets = softened(answers, temperature=flags.temperature)
        print(f"{len(files)} clips; entropy of the targets {entropy(targets):.2f} nats", flush=True)
        for case in chosen:
            recipe = replace(
                usual,
                model=replace(case.model, weights=flags.weights),
                data=replace(usual.data, root=str(cache.root), workers=flags.workers, transform_on="device"),
                optim=replace(
                    usual.optim, epochs=flags.epochs, warmup=min(usual.optim.warmup, flags.epochs / 4)
                ),
            )
            student = distilled(recipe, files, targets, name=case.name, classes=classes)
            path = flags.out / f"{case.name}.safetensors"
            path.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.save(path, student)
            print(path, flush=True)


def answers_of(
    flags: argparse.Namespace, root: Path, files: Sequence[str]
) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Return the probabilities that the teacher gives each clip, [clips, classes], and its classes.

    Raises:
        UserError: the answers in the file are another teacher's, or about other clips.
    """
    names = [str(Path(file).relative_to(root)) for file in files]
    if flags.answers and flags.answers.exists():
        with np.load(flags.answers) as found:
            if found["clips"].tolist() != names or found["teacher"].item() != flags.teacher:
                raise UserError(
                    f"{flags.answers} has answers of '{found['teacher']}' about {len(found['clips'])} clips, "
                    "not these; give another file"
                )
            return torch.from_numpy(found["answers"]), tuple(found["classes"].tolist())
    teacher = checkpoint.load(flags.teacher, device=pick_device())
    recipe = replace(
        teacher.recipe,
        data=replace(teacher.recipe.data, workers=flags.workers, bad_files="strict"),
        eval=replace(teacher.recipe.eval, clips=1, crops=1),
    )
    answers = score_samples(teacher.network, [Sample(file, 0) for file in files], recipe=recipe).scores
    if flags.answers:
        flags.answers.parent.mkdir(parents=True, exist_ok=True)
        with flags.answers.open("wb") as file:  # with a path, NumPy would change the suffix
            np.savez(
                file, answers=answers.numpy(), clips=names, classes=teacher.classes, teacher=flags.teacher
            )
    return answers, tuple(teacher.classes)


def softened(answers: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """Return softened probabilities, [clips, classes]."""
    return (answers.clamp_min(1e-12).log() / temperature).softmax(1)


def entropy(targets: torch.Tensor) -> float:
    """Return the mean entropy of the targets in nats, the least possible loss."""
    return float(-(targets * targets.clamp_min(1e-12).log()).sum(1).mean())


def distilled(
    recipe: Recipe, files: Sequence[str], targets: torch.Tensor, *, name: str, classes: Sequence[str]
) -> checkpoint.Checkpoint:
    """Train a network to give the targets, and return its checkpoint."""
    device, optim = pick_device(), recipe.optim
    torch.manual_seed(recipe.seed)
    network = build(recipe.model, classes=len(classes))
    if recipe.model.weights:
        load_backbone_weights(network.get_submodule("backbone"), recipe.model.weights)
    network.to(device).to_format(network.memory_format)
    samples = [Sample(file, 0) for file in files]
    clips = TrainClips(samples, recipe.data, frames=recipe.model.frames, classes=("any",), seed=recipe.seed)
    order = EpochSampler(len(clips), seed=recipe.seed)
    loader = ClipLoader(clips, batch=optim.batch, data=recipe.data, order=order, device=device)
    optimizer, targets = make_optimizer(network, optim), targets.to(device)
    network.train()
    for epoch in range(optim.epochs):
        order.epoch, losses = epoch, []
        with loader:
            for step, batch in enumerate(prefetch_to_device(loader, device, network.input_spec)):
                set_lr(optimizer, lr_at(epoch + step / max(1, len(loader)), optim))
                with autocast(device, optim.precision):
                    logits = network(batch.views)
                wanted = targets[[key % len(clips) for key in batch.keys]]
                loss = -(wanted * logits.float().log_softmax(1)).sum(1).mean()
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(network.parameters(), optim.clip_norm)
                optimizer.step()
                losses.append(loss.detach())
        print(f"{name}: epoch {epoch + 1}, loss {float(torch.stack(losses).mean()):.3f}", flush=True)
    return checkpoint.Checkpoint(network.cpu().eval(), recipe, tuple(classes))


if __name__ == "__main__":
    main()

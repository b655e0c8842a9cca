"""Measure the accuracy of a Kinetics network on real clips of UCF-101, whose classes are mapped to Kinetics'.

    python -m bench actions --weights i3d_rgb_k400_flat_fp16.npz --class-names kinetics400.txt \\
        --videos decode arrow6/val

The weights are read as by `tanet convert`, and videos are tested with the views that come with the weights
(I3D: the whole video in one pass). Only the classes in `KINETICS` are tested; other folders are left out.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch

from tanet.checkpoints import convert
from tanet.data.annotations import read_class_names
from tanet.data.find_videos import find_videos
from tanet.data.samples import Sample
from tanet.evaluation.evaluate import evaluate
from tanet.evaluation.metrics import accuracy
from tanet.runtime.device import pick_device

# Class of UCF-101 → class of Kinetics-400.
KINETICS = {
    "Archery": "archery",
    "BasketballDunk": "dunking basketball",
    "Diving": "springboard diving",
    "HorseRace": "riding or walking with horse",
    "JumpRope": "skipping rope",
    "SkyDiving": "skydiving",
    "Surfing": "surfing water",
    "Swing": "swinging on something",
}
KEY = ("network", "set", "class")
PACKAGES = ("torch", "av")


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", type=Path, required=True, help="any file that `tanet convert` reads")
    parser.add_argument("--class-names", type=Path, required=True, help="class names of the weights")
    parser.add_argument("--videos", type=Path, nargs="+", required=True, help="folders of class folders")
    parser.add_argument("--device", help="cpu or cuda (default: a GPU if there is one)")


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    names = read_class_names(flags.class_names)
    source = convert.read(flags.weights, classes=names)
    model, labels = source.checkpoint, {name: label for label, name in enumerate(names)}
    model.network.to(pick_device(flags.device))
    scores, truth = [], []
    for root in flags.videos:
        for folder in sorted(path for path in root.iterdir() if path.name in KINETICS):
            label = labels[KINETICS[folder.name]]
            samples = [Sample(str(path), label) for path in find_videos(folder)]
            report = evaluate(model.network, samples, classes=names, recipe=model.recipe)
            scores.append(report.scores)
            truth.append(torch.full((len(report.scores),), label))
            yield _row(source, root.name, folder.name, scores[-1], truth[-1])
    yield _row(source, "all", "all", torch.cat(scores), torch.cat(truth))


def _row(
    source: convert.ConvertedCheckpoint, where: str, name: str, scores: torch.Tensor, labels: torch.Tensor
) -> dict[str, object]:
    found, recipe = accuracy(scores, labels), source.checkpoint.recipe
    eval, frames = recipe.eval, recipe.eval.frames or recipe.model.frames
    return {
        "network": source.kind,
        "set": where,
        "class": name,
        "kinetics_class": KINETICS.get(name, "all"),
        "videos": len(labels),
        "top1": f"{found.top1:.4f}",
        "top5": f"{found.top5:.4f}",
        "views": f"{eval.clips} × {eval.crops} of {eval.size}², {frames} frames at most",
    }

"""Measure the accuracy of int8 networks of OpenVINO against float32, on the demo's verbs.

    pip install 'tanet[openvino]' && make demo && python -m bench int8

Scales are chosen with the demo's training videos. `top1` and `top1_float32` are accuracies in % on `videos`
new videos (another seed); `same_label` is the percentage of videos that get the same label from both.
"""

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.common import ROOT
from tanet import load, synthetic
from tanet.data.annotations import read_test_samples
from tanet.demo.run import DIFFICULTY
from tanet.evaluation.evaluate import evaluate
from tanet.inference.export.quantize import export_int8

PACKAGES = ("torch", "openvino", "nncf")
KEY = ("network",)
SEED = 17
"""Seed of the tested videos; the demo's is 0."""


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--demo", type=Path, default=ROOT / "demo", help="folder of make demo")
    parser.add_argument("--names", nargs="+", default=["tam"], help="networks in this folder")
    parser.add_argument("--videos", type=int, default=100, help="test videos for each verb")


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "videos"
        synthetic.make_dataset(
            fresh, train=1, val=flags.videos, seed=SEED, height=72, width=96, difficulty=DIFFICULTY, workers=2
        )
        for name in flags.names:
            model, path = load(flags.demo / name / "best.safetensors"), Path(folder) / f"{name}.xml"
            export_int8(model, path, flags.demo / "videos")
            data = replace(model.recipe.data, root=str(fresh), train="", val="", quarantine="")
            samples = read_test_samples(data, classes=model.classes)
            int8, plain = (
                evaluate(network, samples, classes=model.classes, recipe=replace(model.recipe, data=data))
                for network in (load(path).network, model.network)
            )
            yield {
                "network": name,
                "videos": len(samples),
                "top1": round(100 * int8.accuracy.top1, 2),
                "top1_float32": round(100 * plain.accuracy.top1, 2),
                "same_label": round(
                    100 * float((int8.scores.argmax(1) == plain.scores.argmax(1)).float().mean()), 2
                ),
            }

"""Score files store the scores of a test, so that they can be inspected or averaged later.

A score file is a safetensors file. Scores and labels are stored as tensors. The names of videos and classes,
and the tested models with their recipes, are stored as JSON. Loading a score file executes no code from it.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from tanet.data.samples import Sample
from tanet.errors import UserError
from tanet.evaluation.report import Report
from tanet.recipes import recipe as recipes
from tanet.recipes.recipe import Data, Recipe
from tanet.runtime.files import name_below, versions, write_atomically
from tanet.video import VideoError

FORMAT = 1
KEY = "tanet-scores"
MAX_HEADER_BYTES = 100_000_000  # safetensors allows no larger header


@dataclass(frozen=True)
class ScoredModel:
    """One model that contributed to the scores."""

    checkpoint: str
    """Path of the checkpoint at the time of the test."""
    sha256: str
    """SHA-256 of the checkpoint file."""
    recipe: Recipe
    """Recipe of the test: model, sampling, views and precision."""
    versions: dict[str, str]
    weight: float = 1.0
    """Weight of this model in the mean of the scores. The weights of all models sum to 1."""


@dataclass(frozen=True)
class Scores:
    """Results of a test, and the models that produced them."""

    name: str
    """Path of the score file or checkpoint that the scores come from, used in messages."""
    report: Report
    root: str
    """Folder of the videos. The names of videos in this folder are relative to it."""
    sources: tuple[ScoredModel, ...]
    """The models that produced the scores."""

    @property
    def names(self) -> list[str]:
        """Names of the scored videos: their paths relative to `root`, which are the same on every machine."""
        return [_relative_name(sample.path, self.root) for sample in self.report.samples]

    @property
    def unreadable(self) -> dict[str, VideoError]:
        """Videos that could not be read: name → error."""
        return {_relative_name(path, self.root): error for path, error in self.report.bad.items()}


def describe_model(checkpoint: Path, *, recipe: Recipe) -> ScoredModel:
    """Describe a tested model by its checkpoint file and the recipe of the test."""
    with checkpoint.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ScoredModel(str(checkpoint), digest, recipe, versions())


def relative_root(data: Data) -> str:
    """Return the folder that the paths of the validation videos are relative to."""
    return data.root or (str(Path(data.val).parent) if data.val else "")


def save(path: str | Path, scores: Scores) -> None:
    """Write a score file. An existing file at `path` is replaced only when the new file is complete.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    report = scores.report
    header = {
        "format": FORMAT,
        "root": scores.root,
        "videos": scores.names,
        "classes": list(report.classes),
        "unreadable": {name: [str(error.path), error.cause] for name, error in scores.unreadable.items()},
        "sources": [dataclasses.asdict(source) for source in scores.sources],
    }
    tensors = {"scores": report.scores.contiguous(), "labels": report.labels}
    write_atomically(path, safetensors.torch.save(tensors, {KEY: json.dumps(header)}))


def is_scores(path: str | Path) -> bool:
    """Return whether a file is a score file, according to its header. The file may be truncated."""
    # Parse the header here, because safetensors cannot read the metadata of a truncated file.
    try:
        with Path(path).open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= MAX_HEADER_BYTES else None
    except (OSError, ValueError):
        return False
    return isinstance(header, dict) and KEY in (header.get("__metadata__") or {})


def load(path: str | Path) -> Scores:
    """Read a score file.

    Raises:
        UserError: the file does not exist, is not a score file, or is damaged. The message names the file
            and the cause.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(KEY, "null"))
        if header is None:
            raise UserError("this safetensors file contains no scores")
        if header["format"] != FORMAT:
            raise UserError(f"unknown format {header['format']}; this version of tanet reads format {FORMAT}")
        return _from_header(str(path), header, safetensors.torch.load_file(path))
    except (safetensors.SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: this is not a score file, or it is damaged ({error})") from error


def _from_header(name: str, header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Scores:
    scores, labels, root = tensors["scores"], tensors["labels"].tolist(), header["root"]
    videos, classes = header["videos"], tuple(header["classes"])
    if scores.shape != (len(videos), len(classes)) or scores.dtype != torch.float32:
        raise UserError(
            f"the scores have shape {list(scores.shape)}, but must be float32 for {len(videos)} videos "
            f"and {len(classes)} classes"
        )
    if len(labels) != len(videos) or not all(0 <= label < len(classes) for label in labels):
        raise UserError("the labels do not fit the videos and classes: each video needs the index of a class")
    samples = tuple(Sample(str(Path(root) / name), label) for name, label in zip(videos, labels, strict=True))
    bad = {str(Path(root) / name): VideoError(*error) for name, error in header["unreadable"].items()}
    sources = tuple(
        ScoredModel(**{**values, "recipe": recipes.from_dict(values["recipe"])})
        for values in header["sources"]
    )
    return Scores(name, Report(samples, classes, scores, bad), root, sources)


def _relative_name(path: str, root: str) -> str:
    return name_below(path, root) or path

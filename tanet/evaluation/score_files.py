"""Scores of a test as a file that says what it is, so that they can be looked at and fused again.

One file of safetensors: scores and labels as tensors; videos, classes and the models with their recipes as
JSON. Nothing in it is executed.
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
MAX_HEADER_BYTES = 100_000_000  # bytes that safetensors allows a header


@dataclass(frozen=True)
class ScoredModel:
    """One model's part in the scores."""

    checkpoint: str
    """Its path when it was tested."""
    sha256: str
    """Of that file."""
    recipe: Recipe
    """As it was tested: its model, sampling, views and precision."""
    versions: dict[str, str]
    weight: float = 1.0
    """Its part in the mean; those of all models add up to 1."""


@dataclass(frozen=True)
class Scores:
    """What a test found, and what made it."""

    name: str
    """What to call them in a message: the file that they come from."""
    report: Report
    root: str
    """The folder that the names of the videos are relative to, where they lie in it."""
    sources: tuple[ScoredModel, ...]
    """One for each model."""

    @property
    def names(self) -> list[str]:
        """Of the videos that were scored: paths below the root, so that another machine's are the same."""
        return [_relative_name(sample.path, self.root) for sample in self.report.samples]

    @property
    def unreadable(self) -> dict[str, VideoError]:
        """The others, by name."""
        return {_relative_name(path, self.root): error for path, error in self.report.bad.items()}


def describe_model(checkpoint: Path, *, recipe: Recipe) -> ScoredModel:
    """What made the scores of one model: its file, and how it was tested."""
    with checkpoint.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ScoredModel(str(checkpoint), digest, recipe, versions())


def relative_root(data: Data) -> str:
    """The folder that the paths of a data set are relative to."""
    return data.root or (str(Path(data.val).parent) if data.val else "")


def save(path: str | Path, scores: Scores) -> None:
    """Write scores; the file at `path` is replaced only when the new one is complete.

    Raises:
        OSError: the disk is full, or the folder can not be written.
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
    """Whether a file says that it holds scores, be it whole or not; what it is called does not count."""
    # The header alone: safetensors refuses a file that was cut short before it says what it is.
    try:
        with Path(path).open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= MAX_HEADER_BYTES else None
    except (OSError, ValueError):
        return False
    return isinstance(header, dict) and KEY in (header.get("__metadata__") or {})


def load(path: str | Path) -> Scores:
    """Read scores.

    Raises:
        UserError: no such file, not a file of scores, or a damaged one; the message names file and cause.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(KEY, "null"))
        if header is None:
            raise UserError("a safetensors file without scores")
        if header["format"] != FORMAT:
            raise UserError(f"of another tanet's format ({header['format']}; known is {FORMAT})")
        return _from_header(str(path), header, safetensors.torch.load_file(path))
    except (safetensors.SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: not a file of scores, or a damaged one ({error})") from error


def _from_header(name: str, header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Scores:
    scores, labels, root = tensors["scores"], tensors["labels"].tolist(), header["root"]
    videos, classes = header["videos"], tuple(header["classes"])
    if scores.shape != (len(videos), len(classes)) or scores.dtype != torch.float32:
        raise UserError(f"{list(scores.shape)} scores for {len(videos)} videos and {len(classes)} classes")
    if len(labels) != len(videos) or not all(0 <= label < len(classes) for label in labels):
        raise UserError("labels that do not fit its videos and classes")
    samples = tuple(Sample(str(Path(root) / name), label) for name, label in zip(videos, labels, strict=True))
    bad = {str(Path(root) / name): VideoError(*error) for name, error in header["unreadable"].items()}
    sources = tuple(
        ScoredModel(**{**values, "recipe": recipes.from_dict(values["recipe"])})
        for values in header["sources"]
    )
    return Scores(name, Report(samples, classes, scores, bad), root, sources)


def _relative_name(path: str, root: str) -> str:
    return name_below(path, root) or path

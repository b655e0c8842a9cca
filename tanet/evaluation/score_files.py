"""Score files: the scores of a test in a self-describing file, to be inspected or averaged later.

A score file is one safetensors file: scores and labels are tensors; videos, classes and the models with their
recipes are JSON. Nothing in it is executed.
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
MAX_HEADER_BYTES = 100_000_000  # largest header that safetensors allows


@dataclass(frozen=True)
class ScoredModel:
    """One model that contributed to the scores."""

    checkpoint: str
    """Path of the checkpoint when it was tested."""
    sha256: str
    """SHA-256 of the checkpoint file."""
    recipe: Recipe
    """The recipe it was tested with: model, sampling, views and precision."""
    versions: dict[str, str]
    weight: float = 1.0
    """Weight in the mean. The weights of all models sum to 1."""


@dataclass(frozen=True)
class Scores:
    """Results of a test, and the models that produced them."""

    name: str
    """Name to use in messages: the file that the scores come from."""
    report: Report
    root: str
    """Folder that the videos' names are relative to, for videos inside it."""
    sources: tuple[ScoredModel, ...]
    """The models, one entry for each."""

    @property
    def names(self) -> list[str]:
        """Names of the scored videos: paths relative to the root, hence the same on every machine."""
        return [_relative_name(sample.path, self.root) for sample in self.report.samples]

    @property
    def unreadable(self) -> dict[str, VideoError]:
        """The videos that could not be read, by name."""
        return {_relative_name(path, self.root): error for path, error in self.report.bad.items()}


def describe_model(checkpoint: Path, *, recipe: Recipe) -> ScoredModel:
    """Describe a model that was tested: its checkpoint file and the recipe it was tested with."""
    with checkpoint.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ScoredModel(str(checkpoint), digest, recipe, versions())


def relative_root(data: Data) -> str:
    """Return the folder that the paths of a data set are relative to."""
    return data.root or (str(Path(data.val).parent) if data.val else "")


def save(path: str | Path, scores: Scores) -> None:
    """Write scores; the file at `path` is replaced only when the new one is complete.

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
    """Return whether a file's header says that it holds scores. File name and truncation do not matter."""
    # Read only the header here: safetensors refuses to read the metadata of a truncated file.
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
        UserError: the file does not exist, is not a score file, or is damaged; the message names the file
            and the cause.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get(KEY, "null"))
        if header is None:
            raise UserError("a safetensors file without scores")
        if header["format"] != FORMAT:
            raise UserError(f"unknown format {header['format']}; this version of tanet reads {FORMAT}")
        return _from_header(str(path), header, safetensors.torch.load_file(path))
    except (safetensors.SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: not a score file, or a damaged one ({error})") from error


def _from_header(name: str, header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Scores:
    scores, labels, root = tensors["scores"], tensors["labels"].tolist(), header["root"]
    videos, classes = header["videos"], tuple(header["classes"])
    if scores.shape != (len(videos), len(classes)) or scores.dtype != torch.float32:
        raise UserError(f"{list(scores.shape)} scores for {len(videos)} videos and {len(classes)} classes")
    if len(labels) != len(videos) or not all(0 <= label < len(classes) for label in labels):
        raise UserError("its labels do not fit its videos and classes")
    samples = tuple(Sample(str(Path(root) / name), label) for name, label in zip(videos, labels, strict=True))
    bad = {str(Path(root) / name): VideoError(*error) for name, error in header["unreadable"].items()}
    sources = tuple(
        ScoredModel(**{**values, "recipe": recipes.from_dict(values["recipe"])})
        for values in header["sources"]
    )
    return Scores(name, Report(samples, classes, scores, bad), root, sources)


def _relative_name(path: str, root: str) -> str:
    return name_below(path, root) or path

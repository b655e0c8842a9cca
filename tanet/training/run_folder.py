"""The folder of a training: what is in it, and whether a training may go on in it.

out/best.safetensors    the checkpoint with the best validation accuracy
out/last.safetensors    the one after the last complete epoch
out/metrics.csv         one line an epoch
out/recipe.json         what is trained
out/state-STEPS.pt      the last two states (state.py), until the training is finished
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from tanet.checkpoints import checkpoint as checkpoints
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.data.samples import Sample, Split
from tanet.models.video_net import VideoNet
from tanet.recipes import recipe as recipes
from tanet.recipes.recipe import Recipe
from tanet.runtime.files import write_atomically
from tanet.training import training_state as states
from tanet.training.events import EpochResult
from tanet.training.training_state import TrainingState

# What may change between a stop and a resume: what changes nothing that is learned, or helps to get over what
# stopped the run.
FREE = (
    *("data.root", "data.workers", "data.timeout", "data.bad_files", "data.max_bad"),
    *("model.weights", "model.init", "optim.nonfinite"),
)
# Files whose contents count: with a state the videos and classes themselves are compared, so they may move.
LISTS = ("data.train", "data.val", "data.class_names", "data.quarantine")


class RunFolder:
    """One training's folder.

    Args:
        folder: it need not be there.
        recipe: what is to be trained.
        split: on what.
    """

    def __init__(self, folder: Path, recipe: Recipe, split: Split) -> None:
        self.folder, self.recipe, self.classes = folder, recipe, split.classes
        self.best, self.last = folder / "best.safetensors", folder / "last.safetensors"
        self.videos = {
            "classes": _digest(split.classes),
            "training videos": _videos(split.train, recipe.data.root),
            "validation videos": _videos(split.val, recipe.data.root),
        }
        self.results: list[dict[str, str]] = []

    def open(self, *, resume: bool, world: int, note: Callable[[str], None]) -> TrainingState | None:
        """Make the folder for a new training, or find the state from which the one in it goes on.

        Args:
            resume: go on, if there is a state; without one the training starts.
            world: processes that train together.
            note: is told lines about what was found.

        Raises:
            ValueError: it holds a training that is not to go on, or can not: it is another, or all its states
                are damaged.
            OSError: it can not be written.
        """
        found = states.newest(self.folder, note=note) if resume else None
        if found is not None:
            path, state = found
            self._compare(state.identity, self.identity(world), free=(*FREE, *LISTS))
            states.drop_newer(path)
            self._clear()
            self.results = [row for row in self._read_results() if int(row["epoch"]) <= state.epoch]
            self._write_results()
            note(f"{self.folder}: goes on after epoch {state.epoch}, step {state.step}")
            return state
        if self.last.exists() or states.states(self.folder):
            how = "without a state to go on from" if resume else "already: --resume goes on with it"
            raise ValueError(f"{self.folder} holds a training {how}; --out names another folder")
        if resume:
            note(f"{self.folder}: no state to go on from yet, so the training starts")
        self._clear()
        write_atomically(
            self.folder / "recipe.json", json.dumps(recipes.to_dict(self.recipe), indent=2).encode()
        )
        self._write_results()
        return None

    def finished(self) -> bool:
        """Whether the folder holds this training, whole.

        Raises:
            ValueError: a whole training is there, but another.
        """
        rows = self._read_results()
        if states.states(self.folder) or not (rows and self.last.exists()):
            return False
        path = self.folder / "recipe.json"
        try:
            trained = recipes.from_dict(json.loads(path.read_text()))
        except (OSError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: can not be read ({error})") from error
        self._compare(_fields(trained), _fields(self.recipe), free=FREE)
        return int(rows[-1]["epoch"]) == self.recipe.optim.epochs

    def identity(self, world: int) -> dict[str, Any]:
        """What a training is, by name."""
        return {**_fields(self.recipe), **self.videos, "processes": world}

    def save(self, network: VideoNet, result: EpochResult, *, best: bool) -> None:
        """What an epoch came to: its checkpoint, that of the best if it is, and its line of metrics.csv."""
        paths = (self.last, self.best) if best else (self.last,)
        for path in paths:
            checkpoints.save(path, Checkpoint(network, self.recipe, self.classes, asdict(result)))
        self.results.append({k: "" if v is None else str(v) for k, v in asdict(result).items()})
        self._write_results()

    def finish(self) -> None:
        """Remove the states: there is nothing left to go on with."""
        for path in states.states(self.folder):
            path.unlink()

    def _compare(self, before: dict[str, Any], now: dict[str, Any], *, free: tuple[str, ...]) -> None:
        # A field that is newer than the run has its default there, as in a checkpoint.
        before = {**_fields(Recipe()), **before}
        different = [
            f"{name} was {before.get(name)!r}, now {now.get(name)!r}"
            for name in dict.fromkeys((*before, *now))
            if before.get(name) != now.get(name) and name not in free
        ]
        # A checkpoint may be gone by now. But that there was one decides what `optim.fresh_lr` is for.
        if before["optim.fresh_lr"] != 1 and bool(before["model.init"]) != bool(now["model.init"]):
            different.append(f"model.init was {before['model.init']!r}, now {now['model.init']!r}")
        if different:
            raise ValueError(f"{self.folder} holds another training: {'; '.join(different)}")

    def _read_results(self) -> list[dict[str, str]]:
        path = self.folder / "metrics.csv"
        if not path.exists():
            return []
        with path.open(newline="") as file:
            return list(csv.DictReader(file))

    def _write_results(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, [field.name for field in fields(EpochResult)], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(self.results)
        write_atomically(self.folder / "metrics.csv", text.getvalue().encode())

    def _clear(self) -> None:
        """Remove what a killed process had not finished writing."""
        unfinished = r"\.(state-\d+\.pt|(best|last)\.safetensors|metrics\.csv|recipe\.json)\.\d+"
        for path in self.folder.glob(".*"):
            if re.fullmatch(unfinished, path.name):
                path.unlink()


def _fields(recipe: Recipe) -> dict[str, Any]:
    """A recipe's values by their names: {"optim.lr": 0.01, …}."""
    values: dict[str, Any] = {}
    for name, value in recipes.to_dict(recipe).items():
        values |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
    return values


def _videos(samples: tuple[Sample, ...], root: str) -> str:
    """What tells a list of videos from another, wherever their folder lies."""
    lines = []
    for sample in samples:
        path = Path(sample.path)
        name = path.relative_to(root) if root and path.is_relative_to(root) else path
        lines.append(f"{name}\t{sample.label}\t{sample.frames}")
    return f"{len(samples)}, {_digest(lines)}"


def _digest(lines: tuple[str, ...] | list[str]) -> str:
    return f"checksum {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:12]}"

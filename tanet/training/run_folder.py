"""The folder of a training: what is in it, and whether a training may go on in it.

out/best.safetensors    the checkpoint with the best validation accuracy
out/last.safetensors    the one after the last complete epoch
out/metrics.csv         one line an epoch
out/recipe.json         what is trained
out/state-STEPS.pt      the last two states (training_state.py), until the training is finished
"""

import csv
import hashlib
import io
import json
import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from tanet.checkpoints import checkpoint as checkpoints
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.data.samples import Sample, Split
from tanet.errors import UserError
from tanet.models.video_net import VideoNet
from tanet.recipes import recipe as recipes
from tanet.recipes.fields import OnResume, rule_of
from tanet.recipes.recipe import Recipe
from tanet.recipes.renamed import new_field_name
from tanet.runtime.events import Note, OnEvent
from tanet.runtime.files import name_below, write_atomically
from tanet.training import training_state as states
from tanet.training.events import EpochResult
from tanet.training.training_state import TrainingState


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

    def open(self, *, resume: bool, world_size: int, on_event: OnEvent) -> TrainingState | None:
        """Make the folder for a new training, or find the state from which the one in it goes on.

        Args:
            resume: go on, if there is a state; without one the training starts.
            world_size: processes that train together.
            on_event: is told `Note`s about what was found.

        Raises:
            UserError: it holds a training that is not to go on, or can not: it is another, or all its states
                are damaged.
            OSError: it can not be written.
        """
        found = states.load_newest(self.folder, on_event=on_event) if resume else None
        if found is not None:
            path, state = found
            self._compare(state.identity, self.identity(world_size), allowed=("free", "content"))
            states.remove_newer(path)
            self._clear()
            self.results = [row for row in self._read_results() if int(row["epoch"]) <= state.epoch]
            self._write_results()
            on_event(Note(f"{self.folder}: goes on after epoch {state.epoch}, step {state.step}"))
            return state
        if self.last.exists() or states.list_states(self.folder):
            how = "without a state to go on from" if resume else "already: --resume goes on with it"
            raise UserError(f"{self.folder} holds a training {how}; --out names another folder")
        if resume:
            on_event(Note(f"{self.folder}: no state to go on from yet, so the training starts"))
        self._clear()
        write_atomically(
            self.folder / "recipe.json", json.dumps(recipes.to_dict(self.recipe), indent=2).encode()
        )
        self._write_results()
        return None

    def finished(self) -> bool:
        """Whether the folder holds this training, whole.

        Raises:
            UserError: a whole training is there, but another.
        """
        rows = self._read_results()
        if states.list_states(self.folder) or not (rows and self.last.exists()):
            return False
        self._compare(_fields(read_run_recipe(self.folder)), _fields(self.recipe), allowed=("free",))
        return int(rows[-1]["epoch"]) == self.recipe.optim.epochs

    def identity(self, world_size: int) -> dict[str, Any]:
        """What a training is, by name."""
        return {**_fields(self.recipe), **self.videos, "processes": world_size}

    def save(self, network: VideoNet, result: EpochResult, *, best: bool) -> None:
        """What an epoch came to: its checkpoint, that of the best if it is, and its line of metrics.csv."""
        paths = (self.last, self.best) if best else (self.last,)
        for path in paths:
            checkpoints.save(path, Checkpoint(network, self.recipe, self.classes, asdict(result)))
        self.results.append({k: "" if v is None else str(v) for k, v in asdict(result).items()})
        self._write_results()

    def finish(self) -> None:
        """Remove the states: there is nothing left to go on with."""
        for path in states.list_states(self.folder):
            path.unlink()

    def _compare(self, before: dict[str, Any], now: dict[str, Any], *, allowed: tuple[OnResume, ...]) -> None:
        """Refuse a training whose fields differ in more than the `allowed` ways."""
        # A field that is newer than the run had its default there, as in a checkpoint.
        before = {**_fields(Recipe()), **{new_field_name(name): value for name, value in before.items()}}
        rules = _rules(self.recipe)
        different = [
            f"{name} was {before.get(name)!r}, now {now.get(name)!r}"
            for name in dict.fromkeys((*before, *now))
            if before.get(name) != now.get(name) and rules.get(name, "same") not in allowed
        ]
        # The checkpoint may be gone by now, but whether there was one decides which layers are new.
        if before["optim.new_layer_lr_scale"] != 1 and bool(before["model.init"]) != bool(now["model.init"]):
            different.append(f"model.init was {before['model.init']!r}, now {now['model.init']!r}")
        if different:
            raise UserError(f"{self.folder} holds another training: {'; '.join(different)}")

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


def has_recipe(folder: Path) -> bool:
    """Tell whether a folder holds a training, whatever its state."""
    return (folder / "recipe.json").exists()


def read_run_recipe(folder: Path) -> Recipe:
    """Read what is trained in a folder.

    Raises:
        UserError: it cannot be read.
    """
    path = folder / "recipe.json"
    try:
        return recipes.from_dict(json.loads(path.read_text()))
    except (OSError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: can not be read ({error})") from error


def _fields(recipe: Recipe) -> dict[str, Any]:
    """Flatten a recipe: {"optim.lr": 0.01, …}."""
    values: dict[str, Any] = {}
    for name, value in recipes.to_dict(recipe).items():
        values |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
    return values


def _rules(recipe: Recipe) -> dict[str, OnResume]:
    """Tell for each field of a recipe what a resumed run may change."""
    return {
        f"{part.name}.{field.name}": rule_of(field).on_resume
        for part in fields(recipe)
        if part.name != "seed"
        for field in fields(getattr(recipe, part.name))
    }


def _videos(samples: tuple[Sample, ...], root: str) -> str:
    """What tells a list of videos from another, wherever their folder lies."""
    lines = []
    for sample in samples:
        name = name_below(sample.path, root) or sample.path
        lines.append(f"{name}\t{sample.label}\t{sample.frames}")
    return f"{len(samples)}, {_digest(lines)}"


def _digest(lines: tuple[str, ...] | list[str]) -> str:
    return f"checksum {hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:12]}"

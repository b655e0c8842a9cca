"""The folder of a training run. `RunFolder` writes the files and checks whether a run may resume.

out/best.safetensors    the checkpoint with the best validation accuracy
out/last.safetensors    the checkpoint after the last complete epoch
out/metrics.csv         the results, one line per epoch
out/recipe.json         the recipe of the run
out/state-STEPS.pt      the last two training states (training_state.py); removed when the run is finished
"""

import csv
import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from tanet.checkpoints import checkpoint as checkpoints
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.data.samples import Sample, Split
from tanet.errors import UserError
from tanet.models.network import Network
from tanet.recipes import recipe as recipes
from tanet.recipes.fields import OnResume, rule_of
from tanet.recipes.network2d import Network2D
from tanet.recipes.recipe import NETWORKS, Recipe
from tanet.recipes.renamed import RULES_OF_0_1_0, new_field_name
from tanet.runtime.events import Note, OnEvent
from tanet.runtime.files import name_below, text_bytes, write_atomically
from tanet.training import training_state as states
from tanet.training.events import EpochResult
from tanet.training.training_state import TrainingState


class RunFolder:
    """The folder of one training run.

    Args:
        folder: path of the folder, which need not exist yet.
        recipe: the recipe to train.
        split: the videos to train and validate on.
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
        """Create the folder of a new run, or load the state of the run in the folder.

        Args:
            resume: whether to resume from the newest state. If the folder holds no run, start a new run.
            world_size: number of processes that train together.
            on_event: receives `Note`s that say where the run resumes, and which states are damaged.

        Returns:
            The state to resume from; None for a new run.

        Raises:
            UserError: the folder holds a run and `resume` is false; or the run in the folder differs from
                this run, has no state, or has only damaged states.
            OSError: the folder cannot be written.
        """
        found = states.load_newest(self.folder, on_event=on_event) if resume else None
        if found is not None:
            path, state = found
            self._compare(state.identity, self.identity(world_size), allowed=("free", "content"))
            states.remove_newer(path)
            self._clear()
            self.results = [row for row in self._read_results() if int(row["epoch"]) <= state.epoch]
            self._write_results()
            on_event(Note(f"{self.folder}: resuming after epoch {state.epoch}, step {state.step}"))
            return state
        refuse_old_run(self.folder, resume=resume)
        if resume:
            on_event(Note(f"{self.folder}: no state to resume from yet, starting a new run"))
        self._clear()
        write_atomically(
            self.folder / "recipe.json", json.dumps(recipes.to_dict(self.recipe), indent=2).encode()
        )
        self._write_results()
        return None

    def finished(self) -> bool:
        """Tell whether the folder holds this run and this run has trained all its epochs.

        Raises:
            UserError: the folder holds a finished run with a different recipe.
        """
        rows = self._read_results()
        if states.list_states(self.folder) or not (rows and self.last.exists()):
            return False
        self._compare(_fields(read_run_recipe(self.folder)), _fields(self.recipe), allowed=("free",))
        return int(rows[-1]["epoch"]) == self.recipe.optim.epochs

    def identity(self, world_size: int) -> dict[str, Any]:
        """Return the values that identify a run, by name. `open` compares these values when a run resumes."""
        return {**_fields(self.recipe), **self.videos, "processes": world_size}

    def save(self, network: Network, result: EpochResult, *, best: bool) -> None:
        """Write the checkpoint and the metrics of an epoch. If `best`, write best.safetensors too."""
        paths = (self.last, self.best) if best else (self.last,)
        for path in paths:
            checkpoints.save(path, Checkpoint(network, self.recipe, self.classes, asdict(result)))
        self.results.append({k: "" if v is None else str(v) for k, v in asdict(result).items()})
        self._write_results()

    def finish(self) -> None:
        """Remove the saved states, because a finished run is not resumed."""
        for path in states.list_states(self.folder):
            path.unlink()

    def _compare(self, before: dict[str, Any], now: dict[str, Any], *, allowed: tuple[OnResume, ...]) -> None:
        """Raise UserError if `before` and `now` differ, except in fields whose rule (`_rules`) is allowed."""
        # A run of an older tanet may lack a field. A missing field gets its default value, as in checkpoints.
        before = {new_field_name(name): value for name, value in before.items()}
        family = before.get("model.family", Network2D.family)
        if family != now["model.family"]:
            cause = f"model.family was {family!r}, now {now['model.family']!r}"
            raise UserError(f"{self.folder} holds a different training run: {cause}")
        before = {**_fields(Recipe(model=NETWORKS[family]())), **_flat(RULES_OF_0_1_0), **before}
        rules = _rules(self.recipe)
        different = [
            f"{name} was {before.get(name)!r}, now {now.get(name)!r}"
            for name in dict.fromkeys((*before, *now))
            if before.get(name) != now.get(name) and rules.get(name, "same") not in allowed
        ]
        # The path in model.init may change, but an empty path must stay empty and a set path must stay set.
        # Whether model.init is set decides which layers are new and get new_layer_lr_scale.
        if before["optim.new_layer_lr_scale"] != 1 and bool(before["model.init"]) != bool(now["model.init"]):
            different.append(f"model.init was {before['model.init']!r}, now {now['model.init']!r}")
        if different:
            raise UserError(f"{self.folder} holds a different training run: {'; '.join(different)}")

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
        """Remove the unfinished temporary files that a killed process left behind."""
        unfinished = r"\.(state-\d+\.pt|(best|last)\.safetensors|metrics\.csv|recipe\.json)\.\d+"
        for path in self.folder.glob(".*"):
            if re.fullmatch(unfinished, path.name):
                path.unlink()


def with_rules_of_run(recipe: Recipe, folder: Path) -> tuple[Recipe, str]:
    """Return the recipe with the rules that a run of tanet 0.1.0 in the folder began with, and a note.

    The note is "" if nothing changes.
    """
    try:
        values = json.loads((folder / "recipe.json").read_text())
        old = all(name not in values[part] for part, rules in RULES_OF_0_1_0.items() for name in rules)
    except (OSError, ValueError, KeyError, TypeError):
        return recipe, ""
    sections = {part: replace(getattr(recipe, part), **rules) for part, rules in RULES_OF_0_1_0.items()}
    ruled = replace(recipe, **sections)  # pyright: ignore[reportArgumentType]
    if not old or ruled == recipe:
        return recipe, ""
    flags = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in _flat(RULES_OF_0_1_0).items())
    return ruled, f"{folder} was begun by tanet 0.1.0, so it goes on with its rules: {flags}"


def refuse_old_run(folder: Path, *, resume: bool) -> None:
    """Check that a folder holds no training run.

    Raises:
        UserError: the folder holds a run. The message depends on `resume`, which the user has asked for.
    """
    if (folder / "last.safetensors").exists() or states.list_states(folder):
        how = ", but no state to resume from" if resume else ": continue it with --resume"
        raise UserError(f"{folder} already holds a training run{how}; for a new run, choose another --out")


def has_recipe(folder: Path) -> bool:
    """Tell whether a folder holds a training run, finished or not."""
    return (folder / "recipe.json").exists()


def read_run_recipe(folder: Path) -> Recipe:
    """Read the recipe of the run in a folder.

    Raises:
        UserError: recipe.json cannot be read.
    """
    path = folder / "recipe.json"
    try:
        return recipes.from_dict(json.loads(path.read_text()))
    except (OSError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error


def _fields(recipe: Recipe) -> dict[str, Any]:
    """Flatten a recipe to {"optim.lr": 0.01, …}."""
    values: dict[str, Any] = {}
    for name, value in recipes.to_dict(recipe).items():
        values |= {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
    return values


def _flat(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{part}.{name}": value for part, values in sections.items() for name, value in values.items()}


def _rules(recipe: Recipe) -> dict[str, OnResume]:
    """Return the `on_resume` rule of each field of a recipe: whether a resumed run may change the field."""
    return {
        f"{part.name}.{field.name}": rule_of(field).on_resume
        for part in fields(recipe)
        if part.name != "seed"
        for field in fields(getattr(recipe, part.name))
    }


def _videos(samples: tuple[Sample, ...], root: str) -> str:
    """Return the number of videos and a checksum of their list.

    The checksum uses paths relative to `root`, so moving the folder of the videos does not change it.
    """
    lines = []
    for sample in samples:
        name = name_below(sample.path, root) or sample.path
        lines.append(f"{name}\t{sample.label}\t{sample.frames}")
    return f"{len(samples)}, {_digest(lines)}"


def _digest(lines: tuple[str, ...] | list[str]) -> str:
    return f"checksum {hashlib.sha256(text_bytes(chr(10).join(lines))).hexdigest()[:12]}"

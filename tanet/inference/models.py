"""Models for predictions: a checkpoint, a name, several of them as one ensemble, or the default model.

    find_models("tsm-r50-k400")                 published weights, a file or a folder of a training
    find_models(["a.safetensors", "b.safetensors"], weights=[2, 1])
    find_models(None)                           DEFAULT_MODEL

A model given by its name is loaded once for each process and device.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import Lock

import torch

from tanet.checkpoints import checkpoint as checkpoints
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.sources import file_of
from tanet.errors import UserError
from tanet.evaluation.ensemble import check_weights, same_classes
from tanet.recipes.recipe import Eval
from tanet.runtime.device import pick_device
from tanet.runtime.events import OnEvent, ignore

DEFAULT_MODEL = "i3d-k400"
"""Model of a prediction that names none."""
KEPT = 4  # models that stay loaded
ModelSource = Checkpoint | str | Path


@dataclass(frozen=True)
class Member:
    """A checkpoint of an ensemble, with its views and its share of the average."""

    name: str
    checkpoint: Checkpoint
    eval: Eval
    weight: float = 1.0
    """Weight in the average. The weights of all members sum to 1."""


def find_models(
    models: ModelSource | Sequence[ModelSource] | None,
    *,
    weights: Sequence[float] = (),
    eval: Eval | None = None,
    device: str | torch.device | None = None,
    on_event: OnEvent = ignore,
) -> tuple[Member, ...]:
    """Load the models of a prediction.

    Args:
        models: a checkpoint, or its name: a path, published weights such as "tsm-r50-k400", or hf://user/name.
            Several make an ensemble. None is DEFAULT_MODEL.
        weights: weight of each model in the average; by default, all weights are equal.
        eval: number and size of the views; None uses the settings of each checkpoint's recipe.
        device: device of models that are given by name; None uses a GPU if there is one.
        on_event: receives `Progress` and `Note` of a download.

    Raises:
        UserError: a model cannot be loaded, the views do not suit it, or the models' classes differ.
    """
    if models is None or isinstance(models, Checkpoint | str | Path):
        models = [DEFAULT_MODEL if models is None else models]
    if not isinstance(models, Sequence) or not models:
        raise UserError(
            f"expected a checkpoint or its name, not {_kind(models)}: load one with tanet.load(path)"
        )
    shares = check_weights(weights, parts=len(models))
    members: list[Member] = []
    for model, share in zip(models, shares, strict=True):
        name, found = _load(model, device, on_event)
        members.append(make_member(name, found, eval=eval, weight=share))
    check_members(members)
    return tuple(members)


def make_member(name: str, checkpoint: Checkpoint, *, eval: Eval | None, weight: float) -> Member:
    """Make a member of an ensemble. Without `eval`, it has the views of the checkpoint's recipe.

    Raises:
        UserError: the views do not suit the network.
    """
    # A new recipe checks that the views suit the network.
    views = replace(checkpoint.recipe, eval=eval).eval if eval else checkpoint.recipe.eval
    return Member(name, checkpoint, views, weight)


def check_members(members: Sequence[Member]) -> None:
    """Raise a UserError if the members' classes differ."""
    first = members[0]
    for member in members[1:]:
        same_classes(member.checkpoint.classes, first.checkpoint.classes, names=(member.name, first.name))


def load_once(source: str | Path, *, device: torch.device, on_event: OnEvent = ignore) -> Checkpoint:
    """Load a checkpoint, or return the one that this process has loaded from the same, unchanged file."""
    path = file_of(source, on_event=on_event)
    status = path.stat()
    with _LOCK:
        return _load_file(path.resolve(), device, (status.st_size, status.st_mtime_ns))


_LOCK = Lock()  # two threads do not load one model twice


@lru_cache(maxsize=KEPT)
def _load_file(path: Path, device: torch.device, _version: tuple[int, int]) -> Checkpoint:
    return checkpoints.load(path, device=device)


def _load(model: ModelSource, device: str | torch.device | None, on_event: OnEvent) -> tuple[str, Checkpoint]:
    """Return the name of a model for messages, and its checkpoint."""
    if isinstance(model, Checkpoint):
        if device is not None:
            raise UserError(
                "device is for models given by name: load the checkpoint with tanet.load(…, device=…)"
            )
        return str(model.info.get("pretrained", "the checkpoint")), model
    if not isinstance(model, str | Path):
        raise UserError(
            f"expected a checkpoint or its name, not {_kind(model)}: load one with tanet.load(path)"
        )
    return str(model), load_once(model, device=pick_device(device), on_event=on_event)


def _kind(value: object) -> str:
    return "an empty list" if value in ([], ()) else type(value).__name__

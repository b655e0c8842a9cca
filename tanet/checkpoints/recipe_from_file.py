"""Recipe of a training that starts from a file: the file's network, and for 3D networks also its sampling.

A 3D network has learned one distance between frames and one frame size, and recognises less in other clips.
So a recipe that starts from a 3D checkpoint samples clips as the network was trained.
"""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from tanet.checkpoints.checkpoint import Header
from tanet.checkpoints.image_weights import image_model
from tanet.checkpoints.initialize import read_trained, started_from
from tanet.checkpoints.part_starts import is_part
from tanet.recipes.finetune import FINETUNE
from tanet.recipes.finetune_cpu import FINETUNE_CPU
from tanet.recipes.network2d import Network2D
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.recipe import Recipe

GROUPS = (
    ("data.sampling", "data.window", "data.rate"),
    ("data.resize", "data.resize_width", "data.size"),
    ("eval.resize", "eval.resize_width", "eval.size"),
    ("eval.frames",),
)
"""Fields that a file may change. Fields of one group belong together."""


def recipe_from_file(
    path: str | Path, recipe: Recipe, *, given: Collection[str] = ()
) -> tuple[Recipe, list[str]]:
    """Return the recipe of a training that starts from the weights in a file, and notes for the user.

    Args:
        path: a checkpoint of tanet, of another project that `convert.read` supports, or ImageNet weights with
            torchvision's names.
        recipe: the recipe of the training.
        given: names of fields that the user has set, such as "data.sampling". Their groups are not changed.

    Raises:
        UserError: the file cannot be read, its network is unknown, or it does not fit the recipe.
    """
    trained = read_trained(path)
    if isinstance(trained, str):
        return replace(recipe, model=image_model(path, recipe.model, backbone=trained)), []
    if is_part(trained.recipe.model, recipe.model):
        return replace(recipe, model=replace(recipe.model, init=str(path))), []
    model = started_from(trained.recipe.model, path, recipe.model)
    notes = _other_network(path, model, recipe)
    if isinstance(model, Network2D) or not trained.input_spec.frame_step:
        return replace(recipe, model=model), notes
    kept = {name for group in GROUPS if set(group) & set(given) for name in group}
    changed = {
        name: value
        for name, value in _as_trained(trained, recipe).items()
        if name not in kept and value != _get(recipe, name)
    }
    recipe = with_fields(recipe, model=model, values=changed)
    if not changed:
        return recipe, notes
    shown = ", ".join(f"{name} {value}" for name, value in changed.items())
    step = trained.input_spec.frame_step
    notes.append(f"{shown}: as {path} was trained, on clips of {model.frames} frames, {step} apart")
    return recipe, notes


def _other_network(path: str | Path, model: NetworkSettings, recipe: Recipe) -> list[str]:
    """Return a note if a recipe, which is made for its own network, trains the network of a file."""
    made_for_any = recipe in (FINETUNE, FINETUNE_CPU)
    if made_for_any or model.title == recipe.model.title:
        return []
    if isinstance(model, Network2D) and isinstance(recipe.model, Network2D):
        return []
    return [f"the network is that of {path}: {model.title}, not the recipe's {recipe.model.title}"]


def with_fields(recipe: Recipe, *, model: Any, values: dict[str, Any]) -> Recipe:
    """Return a recipe with another network, and with other values of the fields SECTION.FIELD."""
    sections: dict[str, dict[str, Any]] = {"data": {}, "eval": {}}
    for name, value in values.items():
        section, _, field = name.partition(".")
        sections[section][field] = value
    return replace(
        recipe,
        model=model,
        data=replace(recipe.data, **sections["data"]),
        eval=replace(recipe.eval, **sections["eval"]),
    )


def sampling_of(recipe: Recipe) -> dict[str, Any]:
    """Return the fields of a recipe that `recipe_from_file` may change, by name."""
    return {name: _get(recipe, name) for group in GROUPS for name in group}


def _as_trained(trained: Header, recipe: Recipe) -> dict[str, Any]:
    """Return the fields that make a recipe sample clips as a network was trained, by name."""
    spec, data = trained.input_spec, trained.recipe.data
    values: dict[str, Any] = {
        "data.sampling": "dense",
        "data.window": trained.recipe.model.frames * spec.frame_step,
        "data.rate": data.rate if data.sampling == "dense" else recipe.data.rate,
        "data.size": spec.size,
        "eval.size": spec.size,
        "eval.frames": recipe.eval.frames if trained.recipe.model.any_frames else 0,
    }
    if spec.resize:
        sections = ("data", "eval") if recipe.data.resize else ("eval",)
        for section in sections:
            values |= {f"{section}.resize": spec.resize, f"{section}.resize_width": spec.resize_width}
    return values


def _get(recipe: Recipe, name: str) -> Any:
    section, _, field = name.partition(".")
    return getattr(getattr(recipe, section), field)

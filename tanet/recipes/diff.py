"""Comparison of a recipe with a reference recipe."""

import dataclasses
from typing import Any

from tanet.recipes.fields import rule_of
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.recipe import Recipe


def changed_fields(recipe: Recipe, reference: Recipe) -> list[str]:
    """Describe each changed field that affects what is learned, as `section.field new (old)`.

    Fields that only give file locations or machine settings are left out. If the recipe starts from
    a checkpoint, `center_tap_bias` is left out too, because the checkpoint overwrites the initial bias.
    Of networks of different families, only the fields that both have are compared.
    """
    changed = []
    for section in ("data", "model", "optim", "eval"):
        ours, theirs = getattr(recipe, section), getattr(reference, section)
        fields: list[dataclasses.Field[Any]] = list(dataclasses.fields(ours))
        if type(ours) is not type(theirs):
            changed.append(f"{section} {ours.title} ({theirs.title})")
            fields = list(dataclasses.fields(NetworkSettings))
        for field in fields:
            was, now = getattr(theirs, field.name), getattr(ours, field.name)
            replaced = field.name == "center_tap_bias" and recipe.model.init
            if was != now and rule_of(field).role == "learning" and not replaced:
                changed.append(f"{section}.{field.name} {_shown(now)} ({_shown(was)})")
    return changed


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "/".join(map(_shown, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)

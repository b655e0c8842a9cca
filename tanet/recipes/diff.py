"""Compare a recipe with its reference: which fields were changed."""

import dataclasses

from tanet.recipes.recipe import Recipe

# Fields that say where things lie and how this machine works, not what is learned.
ASIDE = {
    "data": (
        "transform_on",
        "root",
        "train",
        "val",
        "class_names",
        "quarantine",
        "workers",
        "bad_files",
        "max_bad",
        "timeout",
    ),
    "model": ("weights", "init", "init_frames"),
    "optim": ("accumulate", "nonfinite"),
    "eval": ("batch", "every"),
}


def changed_fields(recipe: Recipe, reference: Recipe) -> list[str]:
    """`section.field now (was)` of what is not the reference's, but for place and machine."""
    changed = []
    for section in ("data", "model", "optim", "eval"):
        ours, theirs = getattr(recipe, section), getattr(reference, section)
        for name in (field.name for field in dataclasses.fields(ours)):
            was, now = getattr(theirs, name), getattr(ours, name)
            start = name == "identity" and recipe.model.init  # which a checkpoint's weights replace
            if was != now and name not in ASIDE.get(section, ()) and not start:
                changed.append(f"{section}.{name} {_shown(now)} ({_shown(was)})")
    return changed


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "/".join(map(_shown, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)

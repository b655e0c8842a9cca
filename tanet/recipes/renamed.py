"""Old names of recipe fields. The old names keep working for one release.

They are accepted in checkpoints and run folders of tanet 0.1.0. As keyword arguments and attributes in
Python, and as flags (cli/common.py), they are accepted with a warning that gives the new name.
"""

import functools
import math
import warnings
from collections.abc import Mapping
from typing import Any

RENAMED: dict[str, str] = {
    "eval.fuse": "average",
    "model.identity": "center_tap_bias",
    "optim.fresh_lr": "new_layer_lr_scale",
    "optim.linear_lr": "linear_lr_boost",
    "optim.most_steps": "max_steps",
}
"""SECTION.OLD → new name of a field."""

REMOVED: dict[str, object] = {
    "model.kernel_prior": "none",
    "model.prior_strength": 3.0,
    "optim.kernel_prior_lr_scale": 1.0,
    "optim.kernel_prior_decay": True,
}
"""SECTION.FIELD of versions between releases → value with which the field had no effect."""

RULES_OF_0_1_0 = {"data": {"segments": "published"}, "optim": {"norm_statistics": "running"}}
"""Section → fields that tanet 0.1.0 did not have, with the value that it always used."""


def with_new_names(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a recipe's plain values with the new field names, and without removed fields.

    A removed field stays if it had an effect, so that reading the recipe ends with an error.

    tanet 0.1.0 also allowed scales above 1, and a warm-up as long as the training. These values are replaced
    by the nearest allowed values, so that checkpoints of tanet 0.1.0 still load.
    """
    new = {
        section: {
            RENAMED.get(f"{section}.{name}", name): value
            for name, value in values.items()
            if (place := f"{section}.{name}") not in REMOVED or value != REMOVED[place]
        }
        if isinstance(values, dict)
        else values
        for section, values in recipe.items()
    }
    if "family" in new.get("model", {"family": ""}):
        return new  # the recipe was written by a version after 0.1.0
    data, optim = new.get("data", {}), new.get("optim", {})
    for section, values in RULES_OF_0_1_0.items():
        for name, value in values.items() if new.get(section) else ():
            new[section].setdefault(name, value)
    if "scales" in data:
        data["scales"] = [min(1.0, scale) for scale in data["scales"]]
    if optim.get("warmup", 0) >= optim.get("epochs", math.inf):
        optim["warmup"] = math.nextafter(optim["epochs"], 0)
    return new


def new_field_name(name: str) -> str:
    """Return the current name of a field. Old and new names have the form SECTION.FIELD."""
    section, _, _ = name.partition(".")
    return f"{section}.{RENAMED[name]}" if name in RENAMED else name


def accept_old_names(cls: type) -> None:
    """Make a section class accept old field names as arguments and attributes, with a DeprecationWarning."""
    section = cls.section  # type: ignore[attr-defined]
    old = {name.partition(".")[2]: new for name, new in RENAMED.items() if name.startswith(f"{section}.")}
    make = cls.__init__

    @functools.wraps(make)
    def init(self: Any, *args: Any, **fields: Any) -> None:
        for name in old.keys() & fields.keys():
            warn_of_new_name(f"{section}.{name}", f"{section}.{old[name]}")
            fields[old[name]] = fields.pop(name)
        make(self, *args, **fields)

    def getattr_(self: Any, name: str) -> Any:
        if name not in old:
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        warn_of_new_name(f"{section}.{name}", f"{section}.{old[name]}")
        return getattr(self, old[name])

    if old:
        cls.__init__ = init
        cls.__getattr__ = getattr_  # type: ignore[attr-defined]


def warn_of_new_name(old: str, new: str) -> None:
    """Warn at the caller's line that a name has changed."""
    warnings.warn(f"{old} is called {new} now", DeprecationWarning, stacklevel=3)

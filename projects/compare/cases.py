"""Networks and recipes to compare: the rows of the paper's tables, on data that everyone can get.

A benchmark is a recipe for one data set. A case is a network to train. It is the benchmark's network, with
the fields changed that a row of the paper's tables changes in TANet. If rows of several tables describe the
same network, they are one case. All cases of a benchmark use the same recipe. The recipes of `arrow6` and
`synthetic` were chosen on `none` and `tsm` alone, so that they do not favour TAM.
"""

import ast
import dataclasses
import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from projects.compare.systems import SYSTEMS
from tanet.errors import UserError
from tanet.profiling.flops import build_on_meta
from tanet.recipes import RECIPES, find_recipe, find_table
from tanet.recipes.diff import changed_fields
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.recipe import Data, Eval, Network2D, Optim, Recipe
from tanet.synthetic import DESCRIPTION, HARD, PAIRS

VARIED = (
    "temporal",
    "backbone",
    "frames",
    "position",
    "stages",
    "alpha",
    "beta",
    "kernel",
    "center_tap_bias",
    "static_kernel",
    "static_strength",
    "shift_div",
)
"""The fields of a model that rows of the tables can change."""
START = "start"
"""Name of a table that the paper does not have. From row to row, TAM's initial kernels are closer to the
identity. (The kernels of tconv and i3d start as the identity.) See `Network2D.center_tap_bias`."""
STATIC = "static"
"""Name of a table that the paper does not have: TAM with static kernels (see `Network2D.static_kernel`), and
TAda2D, which also learns a kernel for each channel."""
STATIC_ROWS: dict[str, dict[str, Any]] = {
    "zeros": {"static_kernel": "zeros"},
    "shift": {"static_kernel": "shift"},
    "shift, lead 0": {"static_kernel": "shift", "center_tap_bias": 0.0},
    "random 0.5": {"static_kernel": "random", "static_strength": 0.5},
    "shift, no gate": {"temporal": "global", "static_kernel": "shift"},
    "shift, not adaptive": {"temporal": "local", "static_kernel": "shift"},
    "shift, a": {"static_kernel": "shift", "position": "a"},
    "shift, quarters": {"static_kernel": "shift", "shift_div": 4},
    "shift, thirds": {"static_kernel": "shift", "shift_div": 3},
    "shift, β 1": {"static_kernel": "shift", "beta": 1},
    "shift, quarters, β 1": {"static_kernel": "shift", "shift_div": 4, "beta": 1},
    "shift, quarters, β 2": {"static_kernel": "shift", "shift_div": 4, "beta": 2},
    "shift, 5 taps, β 1": {"static_kernel": "shift", "kernel": 5, "beta": 1},
    "shift, 5 taps": {"static_kernel": "shift", "kernel": 5},
    "shift, 5 taps, quarters": {"static_kernel": "shift", "kernel": 5, "shift_div": 4},
    "tada": {"temporal": "tada"},
}
SECTIONS = ("data", "model", "optim", "eval")
"""Parts of a recipe whose fields `change` can set."""
OTHERS = "systems"
"""Name of a table of narrow variants of other systems, for the synthetic videos (systems.py)."""
LEADS = (0.0, 2.0, 6.0, 19.0)
"""Values of `center_tap_bias` in the table `START`. The recipe finetune uses the last value."""

SYNTHETIC = Recipe(
    data=Data(
        sampling="uniform", segments="published", resize=96, size=80, scales=(1.0, 0.875), flip="mirror"
    ),
    model=Network2D(backbone="resnet18_w16", temporal="tam", frames=8, dropout=0.0),
    optim=Optim(
        method="adamw",
        epochs=20,
        lr=0.004,
        schedule="cosine",
        warmup=2,
        batch=32,
        weight_decay=5e-4,
        linear_lr_boost="none",
    ),
    eval=Eval(clips=3, crops=1, resize=80, size=80, batch=96, every=20),
)
"""Recipe for the videos of `tanet synthesize`.

Networks start from scratch, because these drawings do not look like ImageNet's photographs. The network is so
small that one CPU core trains it in a quarter of an hour. The recipe was chosen on `none` and `tsm`, on
videos of another seed than those compared (results/compare_recipe_synthetic.csv). With two and four times the
epochs, `tsm` gains 1.4 and 3.4 points, and `none` nothing. Objects are as large in testing as in training. In
an earlier recipe, they were larger in testing (results/archive/compare_at_96.csv). This lowered the accuracy,
most of all TAM's. The scale was changed after these rows of all modules had been seen.
"""

ARROW6_COMPARED = replace(
    RECIPES["arrow6"],
    data=replace(RECIPES["arrow6"].data, segments="published"),
    optim=Optim(
        method="adamw",
        epochs=70,
        lr=2e-4,
        schedule="cosine",
        warmup=5,
        batch=16,
        weight_decay=0.05,
        clip_norm=5.0,
        linear_lr_boost="none",
    ),
)
"""Recipe chosen on `none` and `tsm` (results/compare_recipe.csv); the recipe `arrow6` was tuned with TAM."""

WAYS = replace(ARROW6_COMPARED, optim=replace(ARROW6_COMPARED.optim, epochs=26, warmup=2))
"""ARROW6_COMPARED with as many steps on the three times as many clips of `ways` (folds.py)."""

FINETUNE = replace(
    RECIPES["finetune"], model=replace(RECIPES["finetune"].model, backbone="mobilenet_v2", weights="")
)
"""The recipe of `tanet train finetune`, on a smaller 2D network (results/arrow6_finetune.csv)."""

BENCHMARKS: dict[str, Recipe] = {
    "arrow6": ARROW6_COMPARED,
    "ways": WAYS,
    "synthetic": SYNTHETIC,
    "finetune": FINETUNE,
}


@dataclass(frozen=True)
class Case:
    """A network to train, and the rows of the paper's tables that describe it."""

    name: str
    """Temporal module and other fields that differ from the benchmark's, for example `tam frames=16`."""
    model: NetworkSettings
    rows: tuple[tuple[str, str], ...]
    """(table, row) for each table that has this network."""


def cases(tables: Sequence[str], recipe: Recipe) -> list[Case]:
    """Return the cases of these tables, in the order of the tables and of their rows.

    Args:
        tables: numbers of the paper's tables, such as 1a; `START`, `STATIC` or `OTHERS`.
        recipe: the recipe of the benchmark.

    Raises:
        UserError: there is no such table.
    """
    found: dict[str, Case] = {}
    for table in tables:
        if table == OTHERS:
            found |= {name: Case(name, model, ((table, name),)) for name, model in SYSTEMS.items()}
            continue
        for row, other in rows_of(table).items():
            usual = network_of(recipe)
            model = replace(usual, **other)
            name = case_name(model, usual)
            rows = found[name].rows if name in found else ()
            found[name] = Case(name, model, (*rows, (table, row)))
    return list(found.values())


def network_of(recipe: Recipe) -> Network2D:
    """Return the 2D network of a recipe; all networks that are compared are 2D networks."""
    assert isinstance(recipe.model, Network2D)
    return recipe.model


def choose(found: Sequence[Case], only: Sequence[str] | None) -> list[Case]:
    """Return the cases with these names, or all cases if no name is given."""
    names = [case.name for case in found]
    if unknown := sorted(set(only or ()) - set(names)):
        raise UserError(f"unknown cases: {', '.join(unknown)}; choose from {', '.join(names)}")
    return [case for case in found if not only or case.name in only]


def buildable(chosen: Sequence[Case]) -> list[Case]:
    """Return the cases whose networks can be built. For each other case, print why it cannot be built."""
    found = []
    for case in chosen:
        try:
            build_on_meta(case.model, classes=2)
            found.append(case)
        except ValueError as error:
            print(f"left out: {case.name}: {error}", flush=True)
    return found


def rows_of(table: str) -> dict[str, dict[str, Any]]:
    """Return a dict: row of a table → the fields in which its network differs from TANet, with their values.

    Raises:
        UserError: there is no such table.
    """
    if table == START:
        return {f"{lead:g}": {"temporal": "tam", "center_tap_bias": lead} for lead in LEADS}
    if table == STATIC:
        return {name: {"temporal": "tam"} | fields for name, fields in STATIC_ROWS.items()}
    if table in ("4", OTHERS):
        raise UserError(f"the networks of table {table} are no variants of TANet: choose another table")
    usual = network_of(find_recipe("table2/tam"))
    rows = {}
    for row in find_table(table):
        model = network_of(find_recipe(f"table{table}/{row}"))
        other = {
            field: getattr(model, field) for field in VARIED if getattr(model, field) != getattr(usual, field)
        }
        # Table 3 compares 2D networks. So its rows always name their 2D network, even the paper's default.
        if table == "3":
            other["backbone"] = model.backbone
        if other.get("position") == "b":  # TAM's default position
            del other["position"]
        rows[row] = other
    return rows


def paper_top1(table: str, row: str) -> float | None:
    """Return the paper's top-1 in per cent; None for a row that the paper does not have."""
    return None if table in (START, STATIC, OTHERS) else find_table(table)[row].top1


def actions_of(classes: Sequence[str]) -> list[str]:
    """Return the action of each class. The two classes of an action differ only in the direction of time.

    The action of a synthetic verb is its pair (`appear / vanish`). The action of DivingReversed is Diving.
    """
    pairs = {verb: " / ".join(pair) for pair in PAIRS for verb in pair}
    return [pairs.get(name, name.removesuffix("Reversed")) for name in classes]


def made_otherwise(root: str | Path) -> str:
    """Return the settings of a synthetic data set that differ from `tanet synthesize`'s defaults.

    A setting is written like `camera=0`. The result is an empty string if no setting differs, or if the data
    set is not synthetic.
    """
    about = Path(root) / DESCRIPTION
    if not about.exists():
        return ""
    made = json.loads(about.read_text())
    values = {"seed": made["seed"], "height": made["height"], "width": made["width"], **made["dials"]}
    usual = {"seed": 0, "height": 96, "width": 128, **dataclasses.asdict(HARD)}
    return " ".join(f"{name}={value:g}" for name, value in values.items() if value != usual[name])


def recipe_id(recipe: Recipe) -> str:
    """Return eight hex digits that identify a recipe.

    They are a hash of the fields that affect the result and differ from their defaults. A field that is added
    later therefore changes no id. The hash covers the default of each field as well as its value. So if a
    default changes, the id of each recipe with another value of this field changes too.
    """
    # The first rows are older than the field `segments`: then its value was always `published`.
    then = replace(Recipe(), data=replace(Recipe().data, segments="published"))
    changed = sorted(changed_fields(recipe, then), key=_place_in_first_rows)
    return hashlib.sha256(repr(changed).encode()).hexdigest()[:8]


def _place_in_first_rows(field: str) -> tuple[int, bool]:
    """Return the place of a field in the first rows, when `backbone` and `temporal` led the model section."""
    section = ("data", "model", "optim", "eval").index(field.partition(".")[0])
    return section, not field.startswith(("model.backbone", "model.temporal"))


def case_name(model: Network2D, usual: Network2D) -> str:
    """Return the name of a network: its temporal module, then the other fields that differ from `usual`."""
    others = [
        f"{field}={_written(getattr(model, field))}"
        for field in sorted(VARIED)
        if field != "temporal" and getattr(model, field) != getattr(usual, field)
    ]
    return " ".join([model.temporal, *others])


def changes_text(changes: Sequence[str]) -> str:
    """Return the text of the column `changes`: the changes of a recipe in sorted order."""
    return shlex.join(sorted(changes))


def recipe_of(benchmark: str, changes: str) -> Recipe:
    """Return the recipe of a row from its columns `benchmark` and `changes`.

    Raises:
        UserError: a change is invalid; see `change`.
    """
    return change(BENCHMARKS[benchmark], shlex.split(changes))


def change(recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """Return the recipe with these changes. A change is written like `optim.epochs=40`.

    Raises:
        UserError: a change has another form, names an unknown field, or has a value of the wrong type.
    """
    # Collect all changes before applying them, because a recipe with only some of them may be invalid.
    fields: dict[str, dict[str, object]] = {}
    for text in changes:
        path, _, value = text.partition("=")
        section, _, field = path.partition(".")
        part = getattr(recipe, section) if section in SECTIONS else None
        if part is None or field not in [own.name for own in dataclasses.fields(part)]:
            raise UserError(f"'{text}' changes no field; write SECTION.FIELD=VALUE, like optim.epochs=40")
        old = getattr(part, field)
        try:
            given = value if isinstance(old, str) else ast.literal_eval(value)
            new = type(old)(given)
            if (isinstance(old, int) and new != given) or isinstance(given, bool) != isinstance(old, bool):
                raise ValueError(given)
        except (ValueError, SyntaxError, TypeError, OverflowError) as error:
            raise UserError(f"'{text}': {value} is no value for {path}, which is now {old!r}") from error
        fields.setdefault(section, {})[field] = new
    sections = {name: replace(getattr(recipe, name), **values) for name, values in fields.items()}
    return replace(recipe, **sections)


def _written(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)

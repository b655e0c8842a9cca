"""All recipes and the tables of the paper, by name. Each recipe and each table has its own file."""

from tanet.errors import UserError
from tanet.recipes.arrow6 import ARROW6
from tanet.recipes.finetune import FINETUNE
from tanet.recipes.finetune_cpu import FINETUNE_CPU
from tanet.recipes.kinetics400 import KINETICS400, KINETICS400_16F
from tanet.recipes.paper.row import Row
from tanet.recipes.paper.table1a import TABLE1A
from tanet.recipes.paper.table1b import TABLE1B
from tanet.recipes.paper.table2 import TABLE2
from tanet.recipes.paper.table3 import TABLE3
from tanet.recipes.paper.table5a import TABLE5A
from tanet.recipes.paper.table5b import TABLE5B
from tanet.recipes.recipe import Recipe
from tanet.recipes.something_v1 import SOMETHING_V1, SOMETHING_V1_16F
from tanet.recipes.something_v2 import SOMETHING_V2, SOMETHING_V2_16F
from tanet.recipes.verbs import VERBS

__all__ = ["RECIPES", "TABLES", "Row", "find_recipe", "find_table"]

RECIPES: dict[str, Recipe] = {
    "finetune": FINETUNE,
    "finetune-cpu": FINETUNE_CPU,
    "kinetics400": KINETICS400,
    "kinetics400-16f": KINETICS400_16F,
    "something-v1": SOMETHING_V1,
    "something-v1-16f": SOMETHING_V1_16F,
    "something-v2": SOMETHING_V2,
    "something-v2-16f": SOMETHING_V2_16F,
    "arrow6": ARROW6,
    "verbs": VERBS,
}

TABLES: dict[str, dict[str, Row]] = {
    "1a": TABLE1A,
    "1b": TABLE1B,
    "2": TABLE2,
    "3": TABLE3,
    "5a": TABLE5A,
    "5b": TABLE5B,
}


def find_table(name: str) -> dict[str, Row]:
    """Return the rows of a table of the paper, in the paper's order.

    Args:
        name: number of the table, for example "1a" or "2".

    Raises:
        UserError: there is no such table. The message lists the known tables.
    """
    if name not in TABLES:
        raise UserError(f"unknown table '{name}': choose from {', '.join(TABLES)}")
    return TABLES[name]


def find_recipe(name: str) -> Recipe:
    """Return the recipe with this name.

    Args:
        name: a key of `RECIPES`, or a row of one of the paper's tables, for example "table2/tsm".

    Raises:
        UserError: there is no such recipe, table or row. The message lists the known names.
    """
    if name in RECIPES:
        return RECIPES[name]
    if not name.startswith("table"):
        tables = ", ".join(f"table{table}/…" for table in TABLES)
        raise UserError(f"unknown recipe '{name}': choose from {', '.join(RECIPES)}, {tables}")
    table, _, row = name.removeprefix("table").partition("/")
    rows = find_table(table)
    if row not in rows:
        raise UserError(f"unknown row '{row}' of table {table}: choose from {', '.join(rows)}")
    return rows[row].recipe

"""A row of one of the paper's tables: the experiment as a recipe, and the figures printed beside it."""

from dataclasses import dataclass

from tanet.recipes.recipe import Recipe


@dataclass(frozen=True)
class Row:
    """What to train and test, and what the paper says comes out. The figures are the paper's, as printed."""

    recipe: Recipe
    top1: float
    """In per cent."""
    top5: float
    """In per cent."""
    gflops: float | None = None
    """For one view; None where the table has no such column."""
    params_m: float | None = None
    """Millions of parameters."""
    note: str = ""
    """Why `tanet cost` counts other than the paper, where it does."""

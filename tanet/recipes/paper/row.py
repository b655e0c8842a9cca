"""Row of one of the paper's tables: a recipe and the published results."""

from dataclasses import dataclass

from tanet.recipes.recipe import Recipe


@dataclass(frozen=True)
class Row:
    """The recipe of an experiment, and its results as printed in the paper."""

    recipe: Recipe
    top1: float
    """Top-1 accuracy in per cent."""
    top5: float
    """Top-5 accuracy in per cent."""
    gflops: float | None = None
    """GFLOPs for one view; None if the table has no such column."""
    params_m: float | None = None
    """Parameters in millions; None if the table has no such column."""
    note: str = ""
    """Why the FLOPs that `tanet cost` counts differ from the paper's; "" if they are equal."""

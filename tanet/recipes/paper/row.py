"""Row of one of the paper's tables: a recipe and the published results."""

from dataclasses import dataclass

from tanet.recipes.recipe import Recipe


@dataclass(frozen=True)
class Row:
    """The recipe of an experiment, and its results as printed in the paper."""

    recipe: Recipe
    top1: float
    """Top-1 accuracy in per cent."""
    top5: float | None
    """Top-5 accuracy in per cent; None if it is not printed."""
    gflops: float | None = None
    """GFLOPs for one view; None if they are not printed."""
    params_m: float | None = None
    """Parameters in millions; None if the table has no such column."""
    views: int | None = None
    """Number of views of a video; None if it is not printed."""
    size: int | None = None
    """Side of the frames at which our count comes closest to `gflops`, in pixels. None: the size of the
    recipe's test views, which is the paper's size for all rows of the table."""
    has_products: bool = False
    """Whether `gflops` include attention's matrix products."""
    note: str = ""
    """What differs from the paper, for example why `tanet cost` counts other FLOPs; "" for nothing."""
    clips: int = 1
    """Number of clips that `gflops` are for."""
    others: tuple[Recipe, ...] = ()
    """Recipes of other networks whose scores are averaged with those of `recipe`."""
    weights: tuple[str, ...] = ()
    """Names of published weights (`tanet models`): of each network of the row, or of its alternatives."""

"""Recipes: one experiment a file, each a frozen value on one screen."""

from tanet.recipe import Recipe
from tanet.recipes.arrow6 import ARROW6
from tanet.recipes.folder import FOLDER
from tanet.recipes.kinetics400 import KINETICS400
from tanet.recipes.something import SOMETHING_V1, SOMETHING_V2
from tanet.recipes.verbs import VERBS

RECIPES: dict[str, Recipe] = {
    "folder": FOLDER,
    "kinetics400": KINETICS400,
    "something-v1": SOMETHING_V1,
    "something-v2": SOMETHING_V2,
    "arrow6": ARROW6,
    "verbs": VERBS,
}

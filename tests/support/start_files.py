"""The network of a training that starts from a file."""

from pathlib import Path

from tanet.checkpoints.recipe_from_file import recipe_from_file
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.recipe import Recipe


def model_from_file(path: str | Path, model: NetworkSettings) -> NetworkSettings:
    """Return the settings of the network if a recipe with this model starts from the weights in a file."""
    return recipe_from_file(path, Recipe(model=model))[0].model

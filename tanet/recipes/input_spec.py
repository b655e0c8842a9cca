"""What a network expects of its clips. It belongs to the network and travels in its checkpoint.

    x = (v - mean) / std,    v = low + (high - low) · pixel / 255,  (low, high) = range

ImageNet's values are the default. Other codebases differ: in [-1, 1], in 0 … 255, in BGR.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from tanet.recipes.fields import Section, setting
from tanet.recipes.recipe import Recipe


@dataclass(frozen=True)
class InputSpec(Section):
    """Normalisation of a network's clips, and the frames and sizes it was trained for."""

    section: ClassVar[str] = "input"

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Mean of each channel, subtracted from values in `range`."""
    std: tuple[float, ...] = setting((0.229, 0.224, 0.225), above=0)
    """Standard deviation of each channel: the divisor."""
    range: tuple[float, ...] = (0.0, 1.0)
    """What black (0) and white (255) become before mean and deviation."""
    channels: Literal["rgb", "bgr"] = "rgb"
    """Order of the channels; mean and deviation follow it."""
    frame_step: int = setting(0, least=0)
    """Frames of the video between two frames of a clip; 0: a clip spreads over the whole video."""
    resize: int = setting(256, least=0)
    """Short side of the video before the crop, in pixels."""
    size: int = setting(224, least=1)
    """Side of the crop, in pixels."""


IMAGENET = InputSpec()
"""Values in [0, 1], normalised by ImageNet's mean and standard deviation, RGB."""


def spec_like(spec: InputSpec, trained: InputSpec) -> InputSpec:
    """Give a specification the normalisation that a network was trained with."""
    return replace(spec, mean=trained.mean, std=trained.std, range=trained.range, channels=trained.channels)


def spec_of(recipe: Recipe) -> InputSpec:
    """Return the specification of a network that a recipe trains from ImageNet's or random weights.

    Its frame step and sizes are those of the recipe's sampling and test views.
    """
    dense = recipe.data.sampling == "dense"
    step = recipe.data.window // recipe.model.frames if dense else 0
    return InputSpec(frame_step=step, resize=recipe.eval.resize, size=recipe.eval.size)

"""Input specification, stored in each checkpoint: how a network expects its clips to be prepared.

    x = (v - mean) / std,    v = low + (high - low) · pixel / 255,  (low, high) = range

The defaults are ImageNet's values. Other codebases use the range [-1, 1] or [0, 255], or BGR channels.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from tanet.recipes.fields import Section, setting
from tanet.recipes.recipe import Recipe


@dataclass(frozen=True)
class InputSpec(Section):
    """Normalisation of a network's clips, and the frame step and sizes it was trained with."""

    section: ClassVar[str] = "input"

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    """Mean of each channel, subtracted from values in `range`."""
    std: tuple[float, ...] = setting((0.229, 0.224, 0.225), above=0)
    """Standard deviation of each channel, the divisor."""
    range: tuple[float, ...] = (0.0, 1.0)
    """Values of black (0) and white (255) before the mean is subtracted."""
    channels: Literal["rgb", "bgr"] = "rgb"
    """Order of the channels, also in `mean` and `std`."""
    frame_step: int = setting(0, least=0)
    """Distance between two frames of a clip, in frames of the video; 0: the clip spans the whole video."""
    resize: int = setting(256, least=0)
    """Short side of the video before the crop, in pixels."""
    size: int = setting(224, least=1)
    """Side length of the crop, in pixels."""


IMAGENET = InputSpec()
"""Values in [0, 1], normalised by ImageNet's mean and standard deviation, RGB."""


def spec_like(spec: InputSpec, trained: InputSpec) -> InputSpec:
    """Return `spec` with the normalisation of `trained`, which the network was trained with."""
    return replace(spec, mean=trained.mean, std=trained.std, range=trained.range, channels=trained.channels)


def spec_of(recipe: Recipe) -> InputSpec:
    """Return the input specification of a network that a recipe trains from ImageNet or random weights.

    The frame step follows from the recipe's sampling. The sizes are those of the recipe's test views.
    """
    dense = recipe.data.sampling == "dense"
    step = recipe.data.window // recipe.model.frames if dense else 0
    return InputSpec(frame_step=step, resize=recipe.eval.resize, size=recipe.eval.size)

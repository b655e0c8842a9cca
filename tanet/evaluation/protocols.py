"""Test protocols of the papers, by name: which frames and crops are scored, and how scores are averaged.

k400-10x3   Kinetics, 8 frames: 10 clips × 3 crops          k400-4x3   16 frames: 4 clips × 3 crops
sth-1x1     Something-Something V1: the centre of one clip   sth-2x3    V2: 2 clips × 3 crops

A name states clips × crops. Single flags of `tanet test` (`--eval.clips`) override a protocol's settings.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from tanet.data.frame_sampling import Sampling
from tanet.errors import UserError
from tanet.evaluation.metrics import Average
from tanet.recipes.recipe import Recipe


@dataclass(frozen=True)
class Protocol:
    """Settings that two tests must share for their accuracies to be comparable."""

    sampling: Sampling
    clips: int
    crops: Literal[1, 3]
    resize: int
    """Short side of the frames before the crop, in pixels."""
    size: int
    """Side length of the crops, in pixels."""
    window: int = 64
    """Window length for dense sampling, in frames of the video."""
    average: Average = "logits"
    """What is averaged over the views. The default is that of the published code."""

    def apply(self, recipe: Recipe) -> Recipe:
        """Return the recipe with this protocol's settings. Other settings, such as `eval.batch`, are kept."""
        values = dataclasses.asdict(self)
        data = {name: values.pop(name) for name in ("sampling", "window")}
        return dataclasses.replace(
            recipe,
            data=dataclasses.replace(recipe.data, **data),
            eval=dataclasses.replace(recipe.eval, **values),
        )


PROTOCOLS: dict[str, Protocol] = {
    "k400-10x3": Protocol("dense", clips=10, crops=3, resize=256, size=256),
    "k400-4x3": Protocol("dense", clips=4, crops=3, resize=256, size=256),
    "sth-1x1": Protocol("uniform", clips=1, crops=1, resize=256, size=224),
    "sth-2x3": Protocol("uniform", clips=2, crops=3, resize=256, size=256),
}


def find_protocol(name: str) -> Protocol:
    """Return the protocol with this name.

    Raises:
        UserError: there is no such protocol; the message lists the known ones.
    """
    if name not in PROTOCOLS:
        raise UserError(f"unknown protocol '{name}': choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]

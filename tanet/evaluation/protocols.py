"""How the papers test, by name: which frames and crops of a video are scored, and how the scores become one.

k400-10x3   Kinetics, 8 frames: 10 clips × 3 crops          k400-4x3   16 frames: 4 clips × 3 crops
sth-1x1     Something-Something V1: the centre of one clip   sth-2x3    V2: 2 clips × 3 crops

A name says how many views there are, a number of its own may change one of its values.
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
    """What two tests have to share for their accuracies to be compared."""

    sampling: Sampling
    clips: int
    crops: Literal[1, 3]
    resize: int
    """Short side, in pixels."""
    size: int
    """Side of the crops, in pixels."""
    window: int = 64
    """Length of the window of dense sampling, in frames of the video."""
    average: Average = "logits"
    """As the code that gave the numbers on record."""

    def apply(self, recipe: Recipe) -> Recipe:
        """The recipe, tested by this protocol; what is not of the views (`eval.batch`, say) stays."""
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
    """The protocol of a name.

    Raises:
        UserError: there is none; the message lists those that are.
    """
    if name not in PROTOCOLS:
        raise UserError(f"unknown protocol '{name}': known are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]

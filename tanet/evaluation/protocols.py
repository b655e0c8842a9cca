"""Test protocols of the papers, by name: which frames and crops are scored, and how scores are averaged.

    k400-10x3   10 clips × 3 crops: Kinetics-400, networks with 8 frames
    k400-4x3    4 clips × 3 crops: Kinetics-400, networks with 16 frames
    sth-1x1     1 clip × 1 crop (the centre): Something-Something V1
    sth-2x3     2 clips × 3 crops: Something-Something V2

For example, `tanet test --eval k400-10x3 --eval.clips 5` uses a protocol, but with 5 clips.
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
    """Whether logits or probabilities are averaged over the views. The published code averages logits."""

    def apply(self, recipe: Recipe) -> Recipe:
        """Return a copy of the recipe with the settings of this protocol, which replace the recipe's own."""
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
        UserError: there is no such protocol. The message lists the known protocols.
    """
    if name not in PROTOCOLS:
        raise UserError(f"unknown protocol '{name}': choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]

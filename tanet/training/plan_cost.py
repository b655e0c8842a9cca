"""Suggestions for cheaper training on a CPU: fewer frames, smaller crops, or the recipe `finetune-cpu`.

Each suggestion states which part of the multiply-adds remains (counted by profiling/flops.py). A training
step takes about three times as many multiply-adds as a forward pass, before and after the change. So the
part can be computed from the counts of forward passes alone.
"""

import dataclasses

from tanet.profiling.flops import build_on_meta, count_cost
from tanet.recipes.finetune import FINETUNE
from tanet.recipes.finetune_cpu import FINETUNE_CPU
from tanet.recipes.network2d import Network2D
from tanet.recipes.recipe import Recipe

FRAMES, SIZE, SHORT_SIDE = 4, 112, 128  # the smaller setting: frames per clip, crop, short side of the video
HELPS = 0.5  # a smaller setting is worth a line if it takes at most this part of the multiply-adds


def smaller_setting(recipe: Recipe, *, classes: int) -> str:
    """Return flags that make each clip cheaper, and the part of the multiply-adds that remains.

    The number of frames is kept if the training starts from a checkpoint, which fits only its own number, and
    for 3D networks, whose clips have a fixed distance between frames.

    Returns:
        A text such as "--model.frames 4: about a half". "" if no such flag would help.
    """
    flags, small = [], dict[str, int]()
    model, data = recipe.model, recipe.data
    if isinstance(model, Network2D) and model.frames > FRAMES and not model.init:
        flags.append(f"--model.frames {FRAMES}")
        small["frames"] = FRAMES
    if data.size > SIZE:
        flags.append(f"--data.size {SIZE} --eval.resize {SHORT_SIDE} --eval.size {SHORT_SIDE}")
        if data.short_sides:
            sides = " ".join(str(round(side * SIZE / data.size)) for side in data.short_sides)
            flags.append(f"--data.short-sides {sides}")
        small["size"] = SIZE
    if not flags:
        return ""
    size, frames = small.get("size", data.size), small.get("frames", model.frames)
    part = _macs(recipe, size=size, frames=frames, classes=classes) / _macs(recipe, classes=classes)
    return f"{' '.join(flags)}: {_part(part)}" if part <= HELPS else ""


def recipe_for_cpu(recipe: Recipe, reference: Recipe | None, *, classes: int) -> str:
    """Return a line that names the recipe `finetune-cpu`, or "" unless `finetune` takes far more work.

    Args:
        recipe: the experiment.
        reference: the recipe before its fields were changed.
        classes: number of classes.
    """
    if reference != FINETUNE:
        return ""
    part = _macs(FINETUNE_CPU, classes=classes) * FINETUNE_CPU.optim.epochs
    part /= _macs(recipe, classes=classes) * recipe.optim.epochs
    if part > HELPS:
        return ""
    return f"on a CPU, the recipe finetune-cpu takes {_part(part)} of the multiply-adds"


def _macs(recipe: Recipe, *, classes: int, size: int = 0, frames: int = 0) -> int:
    """Count the multiply-adds of a forward pass of one training clip."""
    model = dataclasses.replace(recipe.model, frames=frames or recipe.model.frames)
    return count_cost(build_on_meta(model, classes=classes), size=size or recipe.data.size).total.macs


def _part(part: float) -> str:
    """Put a fraction into words: 0.26 is "about a quarter"."""
    whole = round(float(f"{1 / part:.2g}"))
    words = {1: "as many", 2: "about half", 3: "about a third", 4: "about a quarter"}
    return words.get(whole, f"about 1/{whole}")

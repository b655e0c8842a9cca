"""Recipes of converted 3D networks: how their codebases cut clips and views from a video."""

from tanet.checkpoints.convert.recognise3d import Recognised3D
from tanet.recipes.networks3d import InceptionI3D
from tanet.recipes.recipe import Data, Eval, Recipe

CLIPS, CROPS = 10, 3  # the published test of all of them but Inception-I3D
WHOLE_VIDEO = 250  # frames: ten seconds at 25 frames per second, which I3D's authors test at once


def recipe_of(found: Recognised3D) -> tuple[Recipe, str]:
    """Return the recipe of a 3D network with the views of its published test, and a note on them."""
    spec, style = found.input_spec, found.origin.style
    data = Data(
        sampling="dense",
        window=found.model.frames * spec.frame_step,
        rate="30fps" if style == "pyslowfast" else "video",
        resize=spec.resize,
        size=spec.size,
    )
    if isinstance(found.model, InceptionI3D):
        eval = Eval(frames=WHOLE_VIDEO, resize=spec.resize, size=spec.size, style=style)
        note = f"a video is tested in one pass, up to {WHOLE_VIDEO} frames of {eval.size}²"
    else:
        side = spec.resize
        eval = Eval(clips=CLIPS, crops=CROPS, resize=side, size=side, style=style, average="softmax")
        note = (
            f"a video is tested as published, in {CLIPS} × {CROPS} views of {side}²; "
            "tanet predict --eval.clips 1 --eval.crops 1 is faster"
        )
    return Recipe(data=data, model=found.model, eval=eval), note

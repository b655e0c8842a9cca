"""Named protocols set the evaluation of the papers in a recipe and change nothing else."""

import dataclasses
from typing import ClassVar

import pytest

from tanet.errors import UserError
from tanet.evaluation.protocols import PROTOCOLS, find_protocol
from tanet.recipes.recipe import Data, Eval, Network2D, Recipe

# sampling, window, rate, clips, frames, crops, short side, size, style, average. The recipe has the window 32
# and the style tsm; protocols of PySlowFast, Wang and Carreira keep the window, others keep the style.
PUBLISHED = {
    "k400-10x3": ("dense", 64, "video", 10, 0, 3, 256, 256, "tsm", "logits"),
    "k400-4x3": ("dense", 64, "video", 4, 0, 3, 256, 256, "tsm", "logits"),
    "sth-1x1": ("uniform", 64, "video", 1, 0, 1, 256, 224, "tsm", "logits"),
    "sth-2x3": ("uniform", 64, "video", 2, 0, 3, 256, 256, "tsm", "logits"),
    "slowfast-10x3": ("dense", 32, "30fps", 10, 0, 3, 256, 256, "pyslowfast", "softmax"),
    "x3d-10x3-182": ("dense", 32, "30fps", 10, 0, 3, 182, 182, "pyslowfast", "softmax"),
    "x3d-10x3-256": ("dense", 32, "30fps", 10, 0, 3, 256, 256, "pyslowfast", "softmax"),
    "x3d-10x3-356": ("dense", 32, "30fps", 10, 0, 3, 356, 356, "pyslowfast", "softmax"),
    "nonlocal-10x3": ("dense", 32, "video", 10, 0, 3, 256, 256, "tanet", "softmax"),
    "i3d-video": ("dense", 32, "video", 1, 250, 1, 256, 224, "tanet", "logits"),
    "r2plus1d-10x1": ("dense", 32, "video", 10, 0, 1, 128, 112, "tanet", "softmax"),
    "torchvision-5x1": ("dense", 32, "video", 5, 0, 1, 128, 112, "tanet", "softmax"),
    "csn-10x3": ("dense", 32, "video", 10, 0, 3, 256, 256, "tanet", "softmax"),
    "csn-10x1": ("dense", 32, "video", 10, 0, 1, 256, 224, "tanet", "softmax"),
    "artnet-25x10": ("dense", 32, "video", 25, 0, 10, 128, 112, "tanet", "softmax"),
    "tsn-25x10": ("uniform", 64, "video", 1, 0, 10, 256, 224, "tsm", "logits"),
    "tsn-25x10-299": ("uniform", 64, "video", 1, 0, 10, 341, 299, "tsm", "logits"),
    "trn-1x10": ("uniform", 64, "video", 1, 0, 10, 256, 224, "tsm", "logits"),
    "blvnet-1x1": ("uniform", 64, "video", 1, 0, 1, 224, 224, "tsm", "logits"),
    "blvnet-3x3": ("dense", 32, "video", 3, 0, 3, 256, 256, "tanet", "logits"),
    "cpnet-8x6": ("dense", 32, "video", 8, 0, 6, 224, 224, "tanet", "softmax"),
    "graph-1x3": ("dense", 32, "video", 1, 0, 3, 256, 256, "tanet", "softmax"),
}
WIDTHS = {"r2plus1d-10x1": 171, "torchvision-5x1": 171, "artnet-25x10": 170}
"""Width of the frames before the crop, if it does not follow from the shape of the video."""
CLIP_FRAMES = {"tsn-25x10": 25, "tsn-25x10-299": 25, "cpnet-8x6": 24}
"""Frames per clip, if a test has another number than the training."""
FRAMES = ("sampling", "window", "rate")
VIEWS = ("clips", "frames", "crops", "resize", "size", "style", "average")


class AnyFrames(Network2D):
    """Settings of a network that takes clips of any length."""

    any_frames: ClassVar[bool] = True


@pytest.mark.parametrize("name", PUBLISHED)
def test_protocol_sets_published_values_and_nothing_else(name):
    before = Recipe(
        data=Data(root="here", sampling="dense", window=32, workers=1),
        model=AnyFrames(frames=16, temporal="none"),
        eval=Eval(clips=7, resize=300, size=299, style="tsm", average="softmax", batch=5, every=3),
    )
    after = find_protocol(name).apply(before)
    data, eval = after.data, after.eval
    found = [getattr(data, name) for name in FRAMES] + [getattr(eval, name) for name in VIEWS]
    assert tuple(found) == PUBLISHED[name]
    assert eval.resize_width == WIDTHS.get(name, 0)
    assert eval.clip_frames == CLIP_FRAMES.get(name, 0)
    views = {name: getattr(before.eval, name) for name in (*VIEWS, "resize_width", "clip_frames")}
    frames = {name: getattr(before.data, name) for name in FRAMES}
    restored = dataclasses.replace(
        after, data=dataclasses.replace(data, **frames), eval=dataclasses.replace(eval, **views)
    )
    assert restored == before


def test_whole_videos_are_rejected_for_networks_of_fixed_length():
    with pytest.raises(UserError, match=r"^eval\.frames 250: this network takes only clips of 8 frames"):
        find_protocol("i3d-video").apply(Recipe())


def test_unknown_protocol_is_rejected():
    assert set(PROTOCOLS) == set(PUBLISHED)
    with pytest.raises(ValueError, match="unknown protocol 'k400': choose from k400-10x3, k400-4x3, sth-1x1"):
        find_protocol("k400")

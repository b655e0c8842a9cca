"""Measure the time that tests save by decoding each video only once.

    python -m bench views

A test averages over several views of a video: several clips, and several crops of each clip. The benchmark
reads these views in two ways on one core:

    once       as in `tanet test`: open the file once, decode each frame of all clips once, and take all crops
               of a clip from the same frames
    per view   for each view: open the file, decode the frames of one clip, and take one crop

The benchmark first checks that both ways give the same views. Then the two take turns. `ratio` is p50 divided
by p50 of `once`. The videos are generated ones of ten seconds, 340x256, and a real one from Kinetics. They
are in the page cache.
"""

import argparse
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from bench.common import interleaved, percentiles, use_one_core
from bench.decode import DATA
from bench.make_video import make_clip
from tanet.data import frame_sampling, transforms
from tanet.data.dataset import EvalClips
from tanet.data.samples import Sample
from tanet.evaluation.protocols import find_protocol
from tanet.recipes.recipe import Recipe
from tanet.video import open_video

# (test protocol, frames per clip)
TESTS = (("k400-10x3", 8), ("k400-4x3", 16), ("sth-2x3", 8), ("sth-1x1", 8))
GROUPS = (12, 250)  # frames from one key frame to the next
REPEATS = 9
PACKAGES = ("av", "torch", "numpy")


def once(path: Path, *, recipe: Recipe, frames: int) -> torch.Tensor:
    """Return all views of a video, and decode the video only once: uint8 [clips·crops, T, 3, S, S]."""
    item = EvalClips([Sample(str(path), 0)], recipe.data, recipe.eval, frames=frames)[0]
    assert isinstance(item, tuple)
    return item[0]


def per_view(path: Path, *, recipe: Recipe, frames: int) -> torch.Tensor:
    """Return the same views as `once`, but open the file again for each view."""
    data, eval = recipe.data, recipe.eval
    views = []
    for clip in range(eval.clips):
        for crop in range(eval.crops):
            with open_video(path) as video:
                indices = frame_sampling.eval_indices(
                    video.info.frames,
                    frames=frames,
                    clips=eval.clips,
                    sampling=data.sampling,
                    window=data.window,
                )
                pictures = video.read(indices[clip])  # [T, H, W, 3]
            resized = transforms.resize_short_side(pictures, eval.resize)
            boxes = transforms.eval_boxes(*resized.shape[1:3], size=eval.size, crops=eval.crops)
            top, left = boxes[crop].top, boxes[crop].left
            views.append(resized[:, top : top + eval.size, left : left + eval.size].permute(0, 3, 1, 2))
    return torch.stack(views)


def videos(folder: Path) -> dict[str, Path]:
    """Write the generated videos, and find the real one. Return the files by the names of the videos."""
    found = {}
    for group in GROUPS:
        path = folder / f"{group}.mp4"
        make_clip(path, codec="libx264", group=group, options={"bf": "3", "threads": "1"})
        found[f"generated 340x256 h264, groups of {group}"] = path
    if (real := DATA / "clips/action/arm_wrestling.mp4").exists():
        found["kinetics 340x256 h264"] = real
    return found


def measure(path: Path, *, protocol: str, frames: int) -> list[dict[str, object]]:
    """Time `once` and `per view` on one video. Return two rows."""
    recipe = find_protocol(protocol).apply(Recipe())
    ways = {
        "once": partial(once, path, recipe=recipe, frames=frames),
        "per view": partial(per_view, path, recipe=recipe, frames=frames),
    }
    assert torch.equal(ways["once"](), ways["per view"]())
    times = interleaved(ways, repeats=REPEATS)
    found = {way: percentiles(times[way]) for way in ways}
    return [
        {
            "protocol": protocol,
            "frames": frames,
            "views": recipe.eval.clips * recipe.eval.crops,
            "decoded": way,
            **{f"{key}_ms": f"{value:.1f}" for key, value in p.items()},
            "ratio": f"{p['p50'] / found['once']['p50']:.2f}",
        }
        for way, p in found.items()
    ]


def rows(_: argparse.Namespace) -> Iterator[dict[str, object]]:
    use_one_core()
    with tempfile.TemporaryDirectory() as folder:
        for name, path in videos(Path(folder)).items():
            for protocol, frames in TESTS:
                for row in measure(path, protocol=protocol, frames=frames):
                    yield {"video": name, **row}

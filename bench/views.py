"""Measure the time saved in testing by decoding a video once for all its views, on one core.

    python -m bench views

`once` reads a video as `tanet test` does: it opens the file once, decodes each frame of all clips once, and
cuts every crop of a clip out of the same frames. `per view` opens the file and decodes the clip's frames
again for each view, and cuts out one crop. Both give the same views, which is checked first. The videos are
generated ones of ten seconds, 340x256, and a real one from Kinetics; they are in the page cache. `ratio` is
p50 divided by that of `once`; the two take turns in one run.
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

TESTS = (("k400-10x3", 8), ("k400-4x3", 16), ("sth-2x3", 8), ("sth-1x1", 8))  # protocol, frames per clip
GROUPS = (12, 250)  # frames from one key frame to the next
REPEATS = 9
PACKAGES = ("av", "torch", "numpy")


def once(path: Path, *, recipe: Recipe, frames: int) -> torch.Tensor:
    """Read all views at once: uint8 [V·crops, T, 3, S, S]."""
    item = EvalClips([Sample(str(path), 0)], recipe.data, recipe.eval, frames=frames)[0]
    assert isinstance(item, tuple)
    return item[0]


def per_view(path: Path, *, recipe: Recipe, frames: int) -> torch.Tensor:
    """Read the same views, opening the file again for each."""
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
    """Write or find the videos, and return them by their names in the table."""
    found = {}
    for group in GROUPS:
        path = folder / f"{group}.mp4"
        make_clip(path, codec="libx264", group=group, options={"bf": "3", "threads": "1"})
        found[f"generated 340x256 h264, groups of {group}"] = path
    if (real := DATA / "clips/action/arm_wrestling.mp4").exists():
        found["kinetics 340x256 h264"] = real
    return found


def measure(path: Path, *, protocol: str, frames: int) -> list[dict[str, object]]:
    """Time `once` and `per view`, and return a row for each."""
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

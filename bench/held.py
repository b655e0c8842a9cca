"""Videos decoded once and held on the device as bytes, where clips are cut: what small trainings repeat.

Frames, boxes and order of the random numbers are the library's; only the resampling runs on the device, in
float32, and a training clip is not rounded to bytes.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch.nn import functional as F

from tanet import sampling, synthetic, transforms
from tanet.annotation import Sample, read_split
from tanet.datasets import TrainClips
from tanet.device import available_cores
from tanet.recipe import Data, Recipe
from tanet.video import open_video

WORKERS = available_cores()


@dataclass(frozen=True)
class Held:
    """Labelled videos of one size, one after the other."""

    frames: torch.Tensor
    """uint8 [frames of all, H, W, 3]."""
    starts: np.ndarray
    """Of each video, its first frame; and one past the last: int64 [videos + 1]."""
    labels: np.ndarray
    """[videos]."""
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def hold(
    root: str, *, device: torch.device, part: float = 0.0, limit: int | None = None
) -> tuple[Held, Held]:
    """The videos to train and to test on.

    Args:
        root: folder with train/ and val/, all videos of one size.
        device: where they are held.
        part: of the recordings of train/, to test on; 0 tests on val/.
        limit: about so many videos of each, spread over the classes; None for all.
    """
    split = read_split(Data(root=root))
    if split.warnings:
        raise ValueError(f"no data for a benchmark: {split.warnings[0]}")
    chosen = hold_out(split.train, part) if part else (split.train, split.val)
    parts = [_spread(some, limit) for some in chosen]
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        clips = [list(pool.map(_decode, [s.path for s in part], chunksize=4)) for part in parts]
    labels = [[sample.label for sample in part] for part in parts]
    train, val = (_held(c, labels_, split.classes, device) for c, labels_ in zip(clips, labels, strict=True))
    return train, val


def hold_out(samples: Sequence[Sample], part: float) -> tuple[list[Sample], list[Sample]]:
    """Training videos in two: to train on, and a part of the recordings to choose by, of all classes alike.

    Videos are of one recording if their names are the same up to the last _ (v_Diving_g08_c01): whatever
    their classes, they stay together.
    """
    recordings: dict[str, set[int]] = {}
    for sample in samples:
        recordings.setdefault(recording(sample), set()).add(sample.label)
    kinds: dict[tuple[int, ...], list[str]] = {}  # of recordings, by the classes they show
    for name, labels in sorted(recordings.items()):
        kinds.setdefault(tuple(sorted(labels)), []).append(name)
    out = set()
    for names in kinds.values():
        generator = np.random.default_rng(0)
        out |= {names[number] for number in generator.permutation(len(names))[: round(part * len(names))]}
    train, held = ([s for s in samples if (recording(s) in out) == side] for side in (False, True))
    if not train or not held:
        raise ValueError(f"a part of {part:g} of {len(recordings)} recordings leaves none on one side")
    return train, held


def recording(sample: Sample) -> str:
    """The name of the recording that a video was cut from."""
    stem = Path(sample.path).stem
    return stem.rpartition("_")[0] or stem


def make_verbs(count: int, *, device: torch.device, height: int = 128, width: int = 172) -> tuple[Held, Held]:
    """The verbs of synthetic.py, never encoded: `count` clips of each for training, half as many to test."""
    keys = [
        [(split, label, i) for label in range(len(synthetic.VERBS)) for i in range(n)]
        for split, n in enumerate((count, max(1, count // 2)))
    ]
    draw = partial(_draw, height=height, width=width)
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        clips = [list(pool.map(draw, part, chunksize=4)) for part in keys]
    labels = [[label for _, label, _ in part] for part in keys]
    train, val = (_held(c, n, synthetic.VERBS, device) for c, n in zip(clips, labels, strict=True))
    return train, val


def cut(
    held: Held,
    numbers: Sequence[int] | np.ndarray,
    recipe: Recipe,
    *,
    generator: np.random.Generator,
    span: float = 1.0,
    colour: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random views as `datasets.TrainClips` cuts them: float32 0–255 [B, T, 3, S, S], and their labels [B].

    Args:
        numbers: of the videos.
        span: least part of the video that a clip spreads over.
        colour: largest change of brightness, contrast and saturation, as a part.
    """
    data, frames = recipe.data, recipe.model.frames
    device, (height, width) = held.frames.device, _size(held.frames, data.resize)
    mirrored = TrainClips([], data, frames=frames, classes=held.classes).mirrored
    rows, boxes, flips, labels = [], [], [], []
    for number in numbers:
        first, count = held.starts[number], int(held.starts[number + 1] - held.starts[number])
        part = max(min(count, frames), round(count * generator.uniform(span, 1))) if span < 1 else count
        first += generator.integers(count - part + 1) if part < count else 0
        rows.append(
            first
            + sampling.train_indices(
                part, frames=frames, sampling=data.sampling, window=data.window, generator=generator
            )
        )
        boxes.append(transforms.multi_scale_box(height, width, scales=data.scales, generator=generator))
        label = int(held.labels[number])
        other = mirrored[label]
        flips.append(other is not None and bool(generator.random() < 0.5))
        labels.append(other if flips[-1] else label)
    clips = _resized(held.frames[torch.from_numpy(np.stack(rows)).to(device)].flatten(0, 1), data.resize)
    views = [
        _cut(clip, box, data.size, flip)
        for clip, box, flip in zip(clips.unflatten(0, (-1, frames)), boxes, flips, strict=True)
    ]
    views = torch.stack(views)
    if colour:
        views = _recolour(views, colour, generator)
    return views, torch.tensor(labels, device=device)


def test_clips(held: Held, recipe: Recipe, *, clips: int, crops: Literal[1, 3]) -> torch.Tensor:
    """All views of all videos, as `datasets.EvalClips` cuts them: uint8 [videos, views, T, 3, S, S]."""
    data, eval, frames = recipe.data, recipe.eval, recipe.model.frames
    boxes = transforms.test_boxes(*_size(held.frames, eval.resize), size=eval.size, crops=crops)
    views = []
    for number in range(len(held)):
        first, count = held.starts[number], int(held.starts[number + 1] - held.starts[number])
        indices = first + sampling.test_indices(
            count, frames=frames, clips=clips, sampling=data.sampling, window=data.window
        )
        rows = torch.from_numpy(indices.flatten()).to(held.frames.device)
        for clip in _resized(held.frames[rows], eval.resize).unflatten(0, (clips, frames)):
            views += [_bytes(_cut(clip, box, eval.size, False)).byte() for box in boxes]
    return torch.stack(views).unflatten(0, (len(held), -1))


def _size(frames: torch.Tensor, short: int) -> tuple[int, int]:
    """Height and width of frames [N, H, W, 3] when their short side is `short`; 0 leaves them as they are."""
    height, width = frames.shape[1:3]
    return transforms.short_side(height, width, short) if short else (height, width)


def _resized(frames: torch.Tensor, short: int) -> torch.Tensor:
    """uint8 [N, H, W, 3] → whole numbers in float32, [N, 3, H', W']."""
    images, size = frames.permute(0, 3, 1, 2).float(), _size(frames, short)
    if size == images.shape[2:]:
        return images
    return _bytes(F.interpolate(images, size, mode="bilinear", antialias=True))


def _cut(clip: torch.Tensor, box: transforms.Box, size: int, flip: bool) -> torch.Tensor:
    """Float32 [T, 3, H, W], a box, → float32 [T, 3, S, S]."""
    part = clip[..., box.top : box.top + box.height, box.left : box.left + box.width]
    if part.shape[2:] != (size, size):
        part = F.interpolate(part, (size, size), mode="bilinear", antialias=True)
    return part.flip(-1) if flip else part


def _bytes(images: torch.Tensor) -> torch.Tensor:
    """Whole numbers from 0 to 255, still in float32."""
    return images.round_().clamp_(0, 255)


def _recolour(views: torch.Tensor, most: float, generator: np.random.Generator) -> torch.Tensor:
    """Brightness, contrast and saturation by random factors, the same for all frames of a clip."""
    factors = torch.from_numpy(generator.uniform(1 - most, 1 + most, (3, len(views), 1, 1, 1, 1))).float()
    brightness, contrast, saturation = factors.to(views.device)
    views = views * brightness
    mean = views.mean((1, 2, 3, 4), keepdim=True)
    views = mean + (views - mean) * contrast
    grey = views.mean(2, keepdim=True)
    return (grey + (views - grey) * saturation).clamp(0, 255)


def _decode(path: str) -> np.ndarray:
    with open_video(path) as video:
        return video.read(range(video.info.frames)).numpy()


def _draw(key: tuple[int, int, int], *, height: int, width: int) -> np.ndarray:
    generator = np.random.default_rng((0, *key))
    frames = int(generator.integers(24, 49))
    return synthetic.render(
        synthetic.VERBS[key[1]], frames=frames, height=height, width=width, generator=generator
    )


def _spread(samples: Sequence[Sample], limit: int | None) -> list[Sample]:
    return list(samples if limit is None else samples[:: max(1, len(samples) // limit)][:limit])


def _held(clips: list[np.ndarray], labels: list[int], classes: tuple[str, ...], device: torch.device) -> Held:
    sizes = {clip.shape[1:] for clip in clips}
    if len(sizes) > 1:
        raise SystemExit(f"videos of one size are wanted, and these have {sizes}")
    starts = np.cumsum([0, *map(len, clips)])
    frames = torch.empty((int(starts[-1]), *clips[0].shape[1:]), dtype=torch.uint8, device=device)
    for start, clip in zip(starts[:-1], clips, strict=True):
        frames[start : start + len(clip)].copy_(torch.from_numpy(np.ascontiguousarray(clip)))
    return Held(frames, starts, np.array(labels), classes)

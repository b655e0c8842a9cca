"""Labels for videos: the same line as in testing, for a file, a folder of pictures, or an array.

model = tanet.load("best.safetensors")
tanet.predict("jump.mp4", model).label
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.data import frame_sampling, transforms
from tanet.evaluation.scorer import video_scores
from tanet.recipes.recipe import Eval
from tanet.video import DamagedVideo, VideoError, open_video

Source = str | Path | np.ndarray | torch.Tensor


@dataclass(frozen=True)
class Prediction:
    """The answer for one video."""

    video: str
    """Its path, or "array"."""
    label: str
    score: float
    """Probability of the label."""
    top5: tuple[tuple[str, float], ...]
    """The five best labels with their probabilities."""
    frames: int
    """Frames of the video."""
    note: str = ""
    """What was wrong with it, where it could be answered all the same."""


def predict(video: Source, model: Checkpoint, *, eval: Eval | None = None) -> Prediction:
    """Recognise the action in one video.

    Args:
        video: path of a video file or of a folder of frame pictures; or the frames, uint8 [frames, H, W, 3].
        model: a checkpoint, on the device that is to compute.
        eval: the views; None for those of the checkpoint's recipe.

    Raises:
        VideoError: the video can not be read.
        ValueError: the array is not uint8 [frames, H, W, 3], or the network's scores are not numbers.
    """
    eval = eval or model.recipe.eval
    return _answer(video, *_views(video, model, eval), model, eval)


def predict_all(
    videos: Iterable[str | Path], model: Checkpoint, *, eval: Eval | None = None, workers: int = 2
) -> Iterator[Prediction | VideoError]:
    """Recognise many; one that can not be read gives its error, and the others their answers.

    Args:
        videos: paths, answered in their order.
        model: a checkpoint, on the device that is to compute.
        eval: the views; None for those of the checkpoint's recipe.
        workers: threads that decode ahead.

    Raises:
        ValueError: the network's scores are not numbers.
    """
    eval = eval or model.recipe.eval
    remaining = iter(videos)
    with ThreadPoolExecutor(workers) as pool:
        ahead = [(path, pool.submit(_views, path, model, eval)) for path in islice(remaining, 2 * workers)]
        while ahead:
            path, views = ahead.pop(0)
            ahead += [(later, pool.submit(_views, later, model, eval)) for later in islice(remaining, 1)]
            try:
                yield _answer(path, *views.result(), model, eval)
            except VideoError as error:
                yield error


def _views(video: Source, model: Checkpoint, eval: Eval) -> tuple[torch.Tensor, int, str]:
    """uint8 [V·crops, T, 3, S, S], the number of frames, and what was wrong."""
    note = ""
    if isinstance(video, str | Path):
        with open_video(video) as clip:
            count = clip.frames
            try:
                frames = clip.read(_indices(count, model, eval))
            except DamagedVideo as damage:
                if not damage.frames:
                    raise
                note = f"damaged: only {damage.frames} of {count} frames can be read"
                count = damage.frames
                frames = clip.read(_indices(count, model, eval))
    else:
        array = torch.as_tensor(np.ascontiguousarray(video) if isinstance(video, np.ndarray) else video)
        if array.dtype != torch.uint8 or array.ndim != 4 or array.shape[-1] != 3 or not len(array):
            raise ValueError(
                f"expected frames uint8 [frames, H, W, 3], not {array.dtype} {list(array.shape)}"
            )
        count = len(array)
        frames = array[torch.from_numpy(_indices(count, model, eval))]
    views = transforms.test_views(frames, resize=eval.resize, size=eval.size, crops=eval.crops)
    return views, count, note


def _indices(count: int, model: Checkpoint, eval: Eval) -> np.ndarray:
    data = model.recipe.data
    return frame_sampling.test_indices(
        count,
        frames=model.recipe.model.frames,
        clips=eval.clips,
        sampling=data.sampling,
        window=data.window,
    )


def _answer(
    video: Source, views: torch.Tensor, count: int, note: str, model: Checkpoint, eval: Eval
) -> Prediction:
    scores = video_scores(model.network, views[None], eval=eval, precision=model.recipe.optim.precision)[0]
    name = str(video) if isinstance(video, str | Path) else "array"
    if scores.isnan().any():
        raise ValueError(f"{name}: the network's scores are not numbers (NaN)")
    best = scores.topk(min(5, len(scores)))
    top5 = tuple(
        (model.classes[i], p) for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )
    return Prediction(name, *top5[0], top5, count, note)

"""Predict the label of a video: a file, a folder of frame images, an array of frames, or pictures.

    model = tanet.load("best.safetensors")
    tanet.predict("jump.mp4", model).label

Videos are processed in the same way as in testing.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice

import torch

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.data.views import read_views
from tanet.errors import UserError
from tanet.evaluation.scorer import video_scores
from tanet.recipes.recipe import Eval
from tanet.video import DamagedVideo, Video, VideoError
from tanet.video.video_source import VideoSource, open_source, source_name


@dataclass(frozen=True)
class Prediction:
    """Prediction for one video."""

    video: str
    """Path of the video, or "array", "pictures" or "video in memory"."""
    label: str
    score: float
    """Probability of the label."""
    top5: tuple[tuple[str, float], ...]
    """The five most probable labels with their probabilities, best first."""
    frames: int
    """Number of frames in the video, or of readable frames if the video is damaged."""
    note: str = ""
    """Description of what is wrong with a damaged or unusual video; "" for other videos."""


def predict(video: VideoSource, model: Checkpoint, *, eval: Eval | None = None) -> Prediction:
    """Recognise the action in one video.

    Args:
        video: path of a video file or of a folder of frame images; the content of a video file; the frames as
            an array, for example uint8 [frames, H, W, 3]; or pictures. `open_source` lists all sources.
        model: checkpoint; the prediction runs on the checkpoint's device.
        eval: number and size of the views; None uses the settings of the checkpoint's recipe.

    Raises:
        VideoError: the video cannot be read, or is none of these.
        UserError: `model` is not a checkpoint, or the network's scores are NaN.
    """
    eval = _eval(model, eval)
    return _answer(video, _views(video, model, eval), model, eval)


def predict_all(
    videos: Iterable[VideoSource], model: Checkpoint, *, eval: Eval | None = None, workers: int = 2
) -> Iterator[Prediction | VideoError]:
    """Recognise the actions in many videos.

    Args:
        videos: videos of any kind that `predict` takes, for example paths.
        model: checkpoint; the predictions run on the checkpoint's device.
        eval: number and size of the views; None uses the settings of the checkpoint's recipe.
        workers: number of threads that decode the next videos in advance.

    Yields:
        The prediction for each video, in order, or a VideoError if the video cannot be read.

    Raises:
        UserError: `videos` is one video, `model` is not a checkpoint, or the network's scores are NaN.
    """
    eval = _eval(model, eval)
    if isinstance(videos, str | bytes | os.PathLike | Mapping) or hasattr(videos, "read"):
        raise UserError("predict_all takes several videos: give a list, or use predict for one video")
    if not isinstance(videos, Iterable):
        raise UserError(f"predict_all takes a list of videos, not {type(videos).__name__}")
    remaining = iter(videos)
    with ThreadPoolExecutor(workers) as pool:
        ahead = [(path, pool.submit(_views, path, model, eval)) for path in islice(remaining, 2 * workers)]
        while ahead:
            path, views = ahead.pop(0)
            ahead += [(later, pool.submit(_views, later, model, eval)) for later in islice(remaining, 1)]
            try:
                yield _answer(path, views.result(), model, eval)
            except VideoError as error:
                yield error


def _eval(model: Checkpoint, eval: Eval | None) -> Eval:
    """Return `eval`, or the settings of the checkpoint's recipe if it is None."""
    if not isinstance(model, Checkpoint):
        raise UserError(f"expected a checkpoint, not {type(model).__name__}: load it with tanet.load(path)")
    # A new recipe checks that the views suit the network.
    return replace(model.recipe, eval=eval).eval if eval else model.recipe.eval


@dataclass(frozen=True)
class _Views:
    """The views of a video, and the fields `frames` and `note` of the `Prediction` for the video."""

    views: torch.Tensor
    """uint8 [V·crops, T, 3, S, S]."""
    frames: int
    note: str = ""


def _views(source: VideoSource, model: Checkpoint, eval: Eval) -> _Views:
    """Read the views of a video. If the video is damaged, use only the frames before the damage."""
    frames, data = model.recipe.model.frames, model.recipe.data
    # The caller closes a video that the caller opened.
    with nullcontext(source) if isinstance(source, Video) else open_source(source) as video:
        promised = video.frames
        try:
            views = read_views(video, frames=frames, data=data, eval=eval)
            return _Views(views, promised, "; ".join(video.notes))
        except DamagedVideo as damage:
            if not damage.frames:
                raise
            views = read_views(video, frames=frames, data=data, eval=eval, count=damage.frames)
            note = f"damaged: only {damage.frames} of {promised} frames can be read"
            return _Views(views, damage.frames, note)


def _answer(video: VideoSource, read: _Views, model: Checkpoint, eval: Eval) -> Prediction:
    precision = model.recipe.optim.precision
    scores = video_scores(model.network, read.views[None], eval=eval, precision=precision)[0]
    name = source_name(video)
    if scores.isnan().any():
        raise UserError(f"{name}: the network's scores are not numbers (NaN)")
    best = scores.topk(min(5, len(scores)))
    top5 = tuple(
        (model.classes[i], p) for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )
    return Prediction(name, *top5[0], top5, read.frames, read.note)

"""Predict the label of a video: a file, a folder of frame images, an array of frames, or pictures.

    tanet.predict("jump.mp4").label                      the default model
    tanet.predict("jump.mp4", "tsm-r50-k400").label      a model by name; several make an ensemble

Videos are processed in the same way as in testing. Each video has a forward pass of its own, so its answer
does not depend on other videos.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.data.flow_video import FlowFolder, find_flow
from tanet.data.streams import stream_of
from tanet.data.views import read_views_with_boxes
from tanet.errors import UserError
from tanet.evaluation.scorer import video_scores
from tanet.inference.models import Member, ModelSource, find_models
from tanet.recipes.recipe import Eval
from tanet.runtime.device import available_cores
from tanet.runtime.events import OnEvent, ignore
from tanet.video import DamagedVideo, Video, VideoError
from tanet.video.video_source import VideoSource, open_source, source_name

MOST_WORKERS = 8


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


def predict(
    video: VideoSource,
    model: ModelSource | Sequence[ModelSource] | None = None,
    *,
    weights: Sequence[float] = (),
    eval: Eval | None = None,
    device: str | torch.device | None = None,
    on_event: OnEvent = ignore,
) -> Prediction:
    """Recognise the action in one video.

    Args:
        video: path of a video file or of a folder of frame images; the content of a video file; the frames as
            an array, for example uint8 [frames, H, W, 3]; or pictures. `open_source` lists all sources.
        model: a checkpoint, which runs on its device, or its name: a path, published weights such as
            "tsm-r50-k400", or hf://user/name. A list makes an ensemble, which averages probabilities. None is
            `DEFAULT_MODEL`. A model given by name is loaded once for each process and device.
        weights: weight of each model of an ensemble; by default, all weights are equal.
        eval: number and size of the views; None uses the settings of the checkpoint's recipe.
        device: device of a model given by name; None uses a GPU if there is one.
        on_event: receives `Progress` and `Note` of a download.

    Raises:
        VideoError: the video cannot be read, or is none of these.
        UserError: `model` is not a model, or cannot be loaded; or the network's scores are NaN.
    """
    if isinstance(video, Checkpoint):
        raise UserError("predict(video, model): the video comes first, and the model second")
    members = find_models(model, weights=weights, eval=eval, device=device, on_event=on_event)
    return _answer(video, read_member_views(video, members), members)


def predict_all(
    videos: Iterable[VideoSource],
    model: ModelSource | Sequence[ModelSource] | None = None,
    *,
    weights: Sequence[float] = (),
    eval: Eval | None = None,
    device: str | torch.device | None = None,
    workers: int | None = None,
    on_event: OnEvent = ignore,
) -> Iterator[Prediction | VideoError]:
    """Recognise the actions in many videos.

    Args:
        videos: videos of any kind that `predict` takes, for example paths.
        model, weights, eval, device, on_event: as in `predict`.
        workers: number of threads that decode the next videos in advance; None: one for each core, at most 8.

    Yields:
        The prediction for each video, in order, or a VideoError if the video cannot be read.

    Raises:
        UserError: `videos` is one video, `model` cannot be used, or the network's scores are NaN.
    """
    if isinstance(videos, str | bytes | os.PathLike | Mapping) or hasattr(videos, "read"):
        raise UserError("predict_all takes several videos: give a list, or use predict for one video")
    if not isinstance(videos, Iterable):
        raise UserError(f"predict_all takes a list of videos, not {type(videos).__name__}")
    members = find_models(model, weights=weights, eval=eval, device=device, on_event=on_event)
    yield from predict_with(members, videos, workers=workers)


def predict_with(
    members: Sequence[Member], videos: Iterable[VideoSource], *, workers: int | None = None
) -> Iterator[Prediction | VideoError]:
    """Recognise the actions in many videos with models that are loaded; see `predict_all`."""
    workers = workers or min(available_cores(), MOST_WORKERS)
    remaining = iter(videos)
    with ThreadPoolExecutor(workers) as pool:
        ahead = deque(
            (path, pool.submit(read_member_views, path, members)) for path in islice(remaining, 2 * workers)
        )
        try:
            while ahead:
                path, read = ahead.popleft()
                ahead += [
                    (later, pool.submit(read_member_views, later, members)) for later in islice(remaining, 1)
                ]
                try:
                    yield _answer(path, read.result(), members)
                except VideoError as error:
                    yield error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after an interruption, decode no more videos


@dataclass(frozen=True)
class MemberViews:
    """The views of a video, and the fields `frames` and `note` of the `Prediction` for the video."""

    views: tuple[tuple[torch.Tensor, torch.Tensor | None], ...]
    """For each model, uint8 [V·crops, T, 3, S, S], and the boxes of their regions or None."""
    frames: int
    note: str = ""


def read_member_views(source: VideoSource, members: Sequence[Member]) -> MemberViews:
    """Read the views of a video. If the video is damaged, use only the frames before the damage."""
    # The caller closes a video that the caller opened.
    with nullcontext(source) if isinstance(source, Video) else _open(source, members) as video:
        promised = video.frames
        try:
            views = _views_for_each(video, members, name=source_name(source))
            return MemberViews(views, promised, "; ".join(video.notes))
        except DamagedVideo as damage:
            if not damage.frames:
                raise
            views = _views_for_each(video, members, name=source_name(source), count=damage.frames)
            note = f"damaged: only {damage.frames} of {promised} frames can be read"
            return MemberViews(views, damage.frames, note)


def _open(source: VideoSource, members: Sequence[Member]) -> Video:
    """Open a video, or its stored flow if the source is a folder of flow and no model needs RGB frames."""
    is_path = isinstance(source, str | os.PathLike)
    if is_path and all(member.checkpoint.recipe.model.is_flow for member in members):
        folder = Path(os.fsdecode(source))
        if folder.is_dir() and (files := find_flow(folder)):
            return FlowFolder(folder, files)
    return open_source(source)


def _views_for_each(
    video: Video, members: Sequence[Member], *, name: str, count: int | None = None
) -> tuple[tuple[torch.Tensor, torch.Tensor | None], ...]:
    """Read the views of each model. Models with the same settings share them."""
    known: dict[object, tuple[torch.Tensor, torch.Tensor | None]] = {}
    keys = []
    for member in members:
        recipe = member.checkpoint.recipe
        frames, flows, data = recipe.model.frames, recipe.model.flows_per_frame, recipe.data
        keys.append((frames, data.sampling, data.window, data.rate, data.boxes, member.eval))
        whole = member.checkpoint.network.takes_frames
        keys[-1] += (whole,)
        if flows:
            keys[-1] += (flows, data.flow_method, data.flow_size)
        if keys[-1] not in known:
            stream = stream_of(video, data, flows=flows)
            known[keys[-1]] = read_views_with_boxes(
                stream,
                name=name,
                frames=frames,
                flows=flows,
                data=data,
                eval=member.eval,
                # Of n frames that can be read, the last one has no flow.
                count=None if count is None else min(max(1, count - 1 if flows else count), stream.frames),
                boxes_needed=True,
                whole=whole,
            )
    return tuple(known[key] for key in keys)


def _answer(video: VideoSource, read: MemberViews, members: Sequence[Member]) -> Prediction:
    name, classes = source_name(video), members[0].checkpoint.classes
    scores = torch.zeros(len(classes))
    for member, (views, boxes) in zip(members, read.views, strict=True):
        checkpoint = member.checkpoint
        precision = checkpoint.recipe.optim.precision
        regions = None if boxes is None else boxes[None]
        found = video_scores(
            checkpoint.network, views[None], eval=member.eval, precision=precision, boxes=regions
        )[0]
        scores += member.weight * found
    if scores.isnan().any():
        raise UserError(f"{name}: the network's scores are not numbers (NaN)")
    best = scores.topk(min(5, len(scores)))
    top5 = tuple((classes[i], p) for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True))
    return Prediction(name, *top5[0], top5, read.frames, read.note)

"""Read evaluation views. Testing and prediction share `read_views`, so both see a video in the same way."""

from dataclasses import replace

import numpy as np
import torch

from tanet.data import frame_sampling, transforms
from tanet.data.box_file import read_boxes
from tanet.data.boxes import boxes_of_frames, view_boxes
from tanet.data.streams import read_frames, starts_of
from tanet.errors import UserError
from tanet.recipes.recipe import Data, Eval
from tanet.video import Video


def read_views_with_boxes(
    video: Video,
    *,
    name: str,
    frames: int,
    data: Data,
    eval: Eval,
    flows: int = 0,
    count: int | None = None,
    boxes_needed: bool = False,
    whole: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Read the views of a video, and the boxes of their regions if `data.boxes` names a file of boxes.

    Args:
        video: an opened video.
        name: path of the video, by which its boxes are found.
        frames, data, eval, flows, count: as in `read_views`.
        boxes_needed: whether a video without boxes is an error.
        whole: whether the frames stay as they are decoded, for a network that cuts its views itself.

    Returns:
        The views, uint8 [V·crops, T, C, S, S], or with `whole` the clips, uint8 [V, T, H, W, C]; and the
        boxes, [V·crops, ⌈T/2⌉, R, 4], or None.

    Raises:
        VideoError: a frame cannot be read.
        UserError: the file of boxes cannot be read, or has no boxes for a video that needs them.
    """
    count = count or video.frames
    indices = _indices(video, frames=frames, data=data, eval=eval, flows=flows, count=count)
    clips = read_frames(video, indices, flows=flows, count=count)  # [V, T, H, W, C]
    if whole:
        return clips, None
    boxes = None
    if data.boxes:
        file, (height, width) = read_boxes(data.boxes), clips.shape[2:4]
        found = boxes_of_frames(
            file.find(name), indices + video.first, height=height, width=width, most=file.most
        )
        boxes = view_boxes(found, height=height, width=width, eval=eval)
        if boxes_needed and not ((boxes[..., 2:] - boxes[..., :2]).amin(-1) > 0).any():
            raise UserError(
                f"{name}: {data.boxes} has no boxes inside the frames of this video, and the network needs "
                "some; --boxes names another file"
            )
    return cut_views(clips, eval), boxes


def read_views(
    video: Video, *, frames: int, data: Data, eval: Eval, flows: int = 0, count: int | None = None
) -> torch.Tensor:
    """Read V clips of a video, and cut crops from each clip. Return uint8 [V·crops, T, C, S, S].

    Args:
        video: an opened video; for a network of optical flow, a `FlowVideo`.
        frames: T, frames per clip.
        data: the function uses `sampling`, `window` and `rate`.
        eval: the function uses `clips`, `frames`, `clip_frames`, `crops`, `resize`, `resize_width`, `size`
            and `style`. If `eval.clip_frames` is set, T is this number. If `eval.frames` is set, T is this
            number, or the number of frames of a shorter video; the frames are consecutive.
        flows: successive optical flows in the place of each frame; 0 for RGB.
        count: number of leading frames or flows from which the clips are taken; None uses all.

    Raises:
        VideoError: a frame cannot be read.
    """
    count = count or video.frames
    indices = _indices(video, frames=frames, data=data, eval=eval, flows=flows, count=count)
    return cut_views(read_frames(video, indices, flows=flows, count=count), eval)


def _indices(video: Video, *, frames: int, data: Data, eval: Eval, flows: int, count: int) -> np.ndarray:
    """Return the frames of V clips: int64 [V, T]."""
    count = starts_of(count, flows=flows)
    if eval.clip_frames:
        step = data.window // frames  # a clip of another length has frames as far apart
        frames, data = eval.clip_frames, replace(data, window=step * eval.clip_frames)
    if eval.frames:
        frames = min(eval.frames, count)
        data = replace(data, sampling="dense", window=frames, rate="video")
    return frame_sampling.eval_indices(
        count,
        frames=frames,
        clips=eval.clips,
        sampling=data.sampling,
        window=data.window,
        style=eval.style,
        rate=data.rate,
        fps=video.fps,
    )


def cut_views(clips: torch.Tensor, eval: Eval) -> torch.Tensor:
    """Cut the crops of V clips, uint8 [V, T, H, W, C] → [V·crops, T, C, S, S]; see `eval_views`."""
    return transforms.eval_views(
        clips,
        resize=eval.resize,
        size=eval.size,
        crops=eval.crops,
        style=eval.style,
        resize_width=eval.resize_width,
    )

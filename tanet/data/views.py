"""Read evaluation views. Testing and prediction share `read_views`, so both see a video in the same way."""

from dataclasses import replace

import torch

from tanet.data import frame_sampling, transforms
from tanet.recipes.recipe import Data, Eval
from tanet.video import Video


def read_views(
    video: Video, *, frames: int, data: Data, eval: Eval, count: int | None = None
) -> torch.Tensor:
    """Read V clips of a video, and cut crops from each clip. Return uint8 [V·crops, T, 3, S, S].

    Args:
        video: an opened video.
        frames: T, frames per clip.
        data: the function uses `sampling`, `window` and `rate`.
        eval: the function uses `clips`, `frames`, `crops`, `resize`, `resize_width`, `size` and `style`. If
            `eval.frames` is set, T is this number, or the number of frames of a shorter video; the frames are
            consecutive.
        count: number of leading frames from which the clips are taken; None uses all frames.

    Raises:
        VideoError: a frame cannot be read.
    """
    count = count or video.frames
    if eval.frames:
        frames = min(eval.frames, count)
        data = replace(data, sampling="dense", window=frames, rate="video")
    indices = frame_sampling.eval_indices(
        count,
        frames=frames,
        clips=eval.clips,
        sampling=data.sampling,
        window=data.window,
        style=eval.style,
        rate=data.rate,
        fps=video.fps,
    )
    clips = video.read(indices)  # [V, T, H, W, 3]
    return transforms.eval_views(
        clips,
        resize=eval.resize,
        size=eval.size,
        crops=eval.crops,
        style=eval.style,
        resize_width=eval.resize_width,
    )

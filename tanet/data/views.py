"""Read the views of a video: the one way from an opened video to what a network is tested on."""

import torch

from tanet.data import frame_sampling, transforms
from tanet.recipes.recipe import Data, Eval
from tanet.video import Video


def read_views(
    video: Video, *, frames: int, data: Data, eval: Eval, count: int | None = None
) -> torch.Tensor:
    """Read V clips of a video and cut their crops: uint8 [V·crops, T, 3, S, S].

    Args:
        video: opened.
        frames: T.
        data: its `sampling` and `window` count.
        eval: clips, crops and sizes.
        count: number of the video's frames to choose from; None for all.

    Raises:
        VideoError: a frame cannot be read.
    """
    indices = frame_sampling.eval_indices(
        count or video.frames,
        frames=frames,
        clips=eval.clips,
        sampling=data.sampling,
        window=data.window,
    )
    clips = video.read(indices)  # [V, T, H, W, 3]
    return transforms.eval_views(clips, resize=eval.resize, size=eval.size, crops=eval.crops)

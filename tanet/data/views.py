"""Reading of evaluation views: the only path from an opened video to the input of a network under test."""

import torch

from tanet.data import frame_sampling, transforms
from tanet.recipes.recipe import Data, Eval
from tanet.video import Video


def read_views(
    video: Video, *, frames: int, data: Data, eval: Eval, count: int | None = None
) -> torch.Tensor:
    """Read V clips of a video and cut their crops: uint8 [V·crops, T, 3, S, S].

    Args:
        video: an opened video.
        frames: T, frames per clip.
        data: the function uses `sampling` and `window`.
        eval: numbers of clips and crops, and their sizes.
        count: number of leading frames to choose from; None for all.

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

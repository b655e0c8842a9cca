"""Read evaluation views. Testing and prediction share `read_views`, so both see a video in the same way."""

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
        data: the function uses `sampling` and `window`.
        eval: the function uses `clips`, `crops`, `resize`, `size` and `style`.
        count: number of leading frames from which the clips are taken; None uses all frames.

    Raises:
        VideoError: a frame cannot be read.
    """
    indices = frame_sampling.eval_indices(
        count or video.frames,
        frames=frames,
        clips=eval.clips,
        sampling=data.sampling,
        window=data.window,
        style=eval.style,
    )
    clips = video.read(indices)  # [V, T, H, W, 3]
    return transforms.eval_views(
        clips, resize=eval.resize, size=eval.size, crops=eval.crops, style=eval.style
    )

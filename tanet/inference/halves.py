"""The two halves of `predict`, for engines that decode on some machines and classify on others.

    views(video, model)       decoding, on a CPU      uint8 [V·crops, T, C, S, S]
    classify(views, model)    the network             probabilities [B, classes]

examples/label_with_ray.py labels a million videos with them.
"""

from collections.abc import Sequence

import numpy as np
import torch

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.data.streams import stream_of
from tanet.data.views import read_views
from tanet.errors import UserError
from tanet.evaluation.scorer import Scorer
from tanet.recipes.networks_hybrid import RegionGraphNet
from tanet.recipes.recipe import Recipe
from tanet.video import Video
from tanet.video.video_source import VideoSource, open_source


def views(video: VideoSource, model: Checkpoint | Recipe) -> torch.Tensor:
    """Read the views of a video that a network gets, as in testing.

    Args:
        video: a path, or any other video that `predict` takes.
        model: a checkpoint or its recipe, which says how many frames and crops are needed. A recipe is small,
            so that it can be sent to the processes that decode.

    Returns:
        uint8 [V·crops, T, C, S, S].

    Raises:
        VideoError: the video cannot be read.
        UserError: the network needs boxes of regions.
    """
    recipe = model.recipe if isinstance(model, Checkpoint) else model
    if isinstance(recipe.model, RegionGraphNet):
        raise UserError(f"{recipe.model.title} needs regions: use predict with a file of boxes")
    opened = video if isinstance(video, Video) else open_source(video)
    try:
        flows = recipe.model.flows_per_frame
        stream = stream_of(opened, recipe.data, flows=flows)
        return read_views(stream, frames=recipe.model.frames, data=recipe.data, eval=recipe.eval, flows=flows)
    finally:
        if opened is not video:
            opened.close()


def classify(views: torch.Tensor | Sequence[torch.Tensor | np.ndarray], model: Checkpoint) -> torch.Tensor:
    """Compute the probabilities of the classes of videos from their views.

    Args:
        views: views of B videos, uint8 [B, V·crops, T, C, S, S], or a list of the views of each video
            (tensors or NumPy arrays).
        model: checkpoint with its network on the device to use. The network is set to evaluation mode.

    Returns:
        float32 [B, classes] on the CPU. The classes are `model.classes`.
    """
    batch = (
        views
        if isinstance(views, torch.Tensor)
        else torch.stack([torch.tensor(view) if isinstance(view, np.ndarray) else view for view in views])
    )
    scorer = Scorer(model.network.eval(), eval=model.recipe.eval, precision=model.recipe.optim.precision)
    return scorer(batch)

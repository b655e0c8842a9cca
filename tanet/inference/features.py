"""Features of a long video: the input of the network's last layer, one row for each window.

    row i = features(window i)    [N, C], with several crops [N, crops, C]

Temporal action detectors such as ActionFormer and OpenTAD read such features. The time of row i is the
centre of its window.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.data.normalisation import normalise
from tanet.data.streams import stream_of
from tanet.errors import UserError
from tanet.inference.windows import Span, Windows, default_window, read_windows, windows_of
from tanet.recipes.networks_hybrid import RegionGraphNet
from tanet.recipes.recipe import Eval
from tanet.runtime.device import autocast
from tanet.video import DamagedVideo, Video

NETWORK = Lock()
"""Threads decode in parallel, but take turns with the network."""


@dataclass(frozen=True)
class Features:
    """Features of the windows over a video."""

    values: np.ndarray
    """float32 [N, C], or [N, crops, C] with several crops."""
    windows: Windows
    frames: int
    """Number of frames of the video, or of readable frames if it is damaged."""
    fps: float | None
    note: str = ""


@torch.inference_mode()
def extract(
    video: Video,
    model: Checkpoint,
    *,
    window: Span | None = None,
    stride: Span | None = None,
    eval: Eval | None = None,
    mean_over_crops: bool = True,
) -> Features:
    """Compute the features of windows over a video, in one pass.

    Args:
        video: an opened video.
        model: checkpoint with its network on the device to use.
        window: length of a window; None for the length in training, see `default_window`.
        stride: distance between the starts of two windows; None for the window's length.
        eval: crops of each frame, and views per forward pass; None takes the recipe's.
        mean_over_crops: whether features are averaged over the crops.

    Raises:
        VideoError: the video cannot be read.
        UserError: the network needs boxes of regions.
    """
    recipe, network = model.recipe, model.network.eval()
    if isinstance(recipe.model, RegionGraphNet):
        raise UserError(f"{recipe.model.title} needs regions, so it has no features of a video alone")
    views, window = eval or recipe.eval, window or default_window(recipe)
    stream = stream_of(video, recipe.data, flows=recipe.model.flows_per_frame)
    windows = windows_of(stream, recipe, window=window, stride=stride or window)
    device = next(network.parameters()).device
    batch = max(1, views.batch // views.crops)
    rows: list[np.ndarray] = []
    note = "; ".join(stream.notes)
    try:
        for clips in read_windows(stream, windows, recipe, eval=views, batch=batch):
            with NETWORK, autocast(device, recipe.optim.precision):
                flat = normalise(clips.flatten(0, 1).to(device), network.input_spec)
                found = network.features(flat).float().unflatten(0, clips.shape[:2])  # [n, crops, C]
            rows.append((found.mean(1) if mean_over_crops or views.crops == 1 else found).cpu().numpy())
    except DamagedVideo as damage:
        if not rows:
            raise
        note = f"damaged: only {damage.frames} frames can be read"
    values = np.concatenate(rows)
    return Features(values, _first(windows, len(values)), video.frames, video.fps, note)


def _first(windows: Windows, count: int) -> Windows:
    parts: Sequence[np.ndarray] = (windows.indices, windows.starts, windows.centres, windows.ends)
    return Windows(*(part[:count] for part in parts))

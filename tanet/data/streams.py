"""The two streams of a video: RGB frames, and optical flow.

    RGB     frame i of a clip → picture i                                                       C = 3
    flow    frame i of a clip → x and y of the flows i, i+1, …, i + L-1                         C = 2 L

L is `model.flows`; TSN has 5. Frames of clips are chosen so that L flows follow; shorter videos repeat their
last flow. Two-stream networks: Simonyan and Zisserman, NeurIPS 2014.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from tanet.data.flow_video import ComputedFlow, FlowFolder, FlowVideo, find_flow, holds_only_flow
from tanet.data.samples import Sample, flow_count, frame_count
from tanet.data.shards.format import ShardEntry
from tanet.data.shards.read import open_packed_video
from tanet.errors import UserError
from tanet.recipes.recipe import Data
from tanet.video import Video, VideoError, open_video
from tanet.video.excerpt import Excerpt
from tanet.video.frame_folder import PictureFolder

IS_FLOW = "optical flow, and the network takes RGB frames"


def open_sample(sample: Sample, *, data: Data, flows: int) -> Video:
    """Open a labelled video, or its flow if `flows` is not 0.

    Raises:
        VideoError: the video or its flow cannot be opened.
    """
    place = sample.flow if flows and sample.flow else sample.shard_entry or sample.path
    if isinstance(place, ShardEntry):
        video = open_packed_video(place, name=sample.path)
    elif flows and sample.flow and not Path(place).is_dir():
        raise VideoError(
            sample.path, f"no flow in {place}: run tanet data flow again, or leave the video out"
        )
    elif flows and Path(place).is_dir() and (files := find_flow(Path(place))):
        return FlowFolder(Path(place), files)
    else:
        video = open_video(place)
    return flow_of(video, data) if flows else not_packed_flow(video)


def check_first(samples: Sequence[Sample], *, flows: int) -> None:
    """Raise VideoError if the first of the videos is optical flow and the network takes RGB frames.

    The others are taken to be of the same kind, because looking into each folder takes time.
    """
    if samples and not flows and not samples[0].shard_entry and Path(samples[0].path).is_dir():
        with suppress(VideoError), open_video(samples[0].path) as video:
            is_flow = isinstance(video, PictureFolder) and holds_only_flow(video.path)
            if is_flow:
                raise UserError(f"{samples[0].path}: {IS_FLOW}")


def flow_of(video: Video, data: Data) -> FlowVideo:
    """Return the flow of an opened video: the video itself, stored beside its frames, or computed.

    Args:
        video: an opened video.
        data: the function uses `flow_method` and `flow_size`.

    Raises:
        VideoError: the video has only one frame.
    """
    if isinstance(video, FlowVideo):
        return video
    if isinstance(video, Excerpt) and isinstance(video.whole, PictureFolder) and find_flow(video.whole.path):
        raise VideoError(video.path, "stored flow of a part of a video is not read")
    if isinstance(video, PictureFolder) and (files := find_flow(video.path)):
        return FlowFolder(video.path, files)
    width, height = data.flow_size
    return ComputedFlow(video, method=data.flow_method, size=(width, height))


def stream_of(video: Video, data: Data, *, flows: int) -> Video:
    """Return what a network reads of an opened video: its flow if `flows` is not 0, otherwise its RGB frames.

    Raises:
        VideoError: the video is flow and RGB frames are needed, or it has too few frames for flow.
    """
    return flow_of(video, data) if flows else check_rgb(video)


def check_rgb(video: Video) -> Video:
    """Return an opened video. Raise VideoError if it is optical flow."""
    whole = video.whole if isinstance(video, Excerpt) else video
    if isinstance(whole, PictureFolder) and holds_only_flow(whole.path):
        raise VideoError(video.path, IS_FLOW)
    return not_packed_flow(video)


def not_packed_flow(video: Video) -> Video:
    """Return an opened video. Raise VideoError if it is optical flow from a shard or from the user."""
    if isinstance(video, FlowVideo):
        raise VideoError(video.path, IS_FLOW)
    return video


def count_of(sample: Sample, video: Video) -> int:
    """Return how many frames or flows of an opened video may be used, counted from the first.

    Raises:
        VideoError: the video's list states more than the video has.
    """
    count = flow_count if isinstance(video, FlowVideo) else frame_count
    return count(sample, video.frames)


def starts_of(count: int, *, flows: int) -> int:
    """Return the number of positions that a frame of a clip can take among `count` pictures or flows."""
    return max(1, count - flows + 1) if flows else count


def read_frames(video: Video, indices: np.ndarray, *, flows: int, count: int) -> torch.Tensor:
    """Read the frames of clips, RGB or stacked flow.

    Args:
        video: an opened video; a `FlowVideo` if `flows` is not 0.
        indices: frames of the clips, integers of shape S.
        flows: L, successive flows for each frame; 0 for RGB.
        count: number of leading flows to use.

    Returns:
        uint8 [*S, H, W, C]. The channels of flow are x, y of the first flow, x, y of the second flow, …
    """
    if not flows:
        return video.read(indices)
    successive = np.minimum(indices[..., None] + np.arange(flows), count - 1)
    pairs = video.read(successive)  # [*S, L, H, W, 2]
    return pairs.movedim(-4, -2).flatten(-2)

"""Where the stored flow of a video is: in a folder or a shard, under the name of the video.

videos/train/jump/1.mp4   →   flow/train/jump/1        a folder of pictures (`tanet data flow`)
                              flow/train.index.json    an index of shards (`tanet data pack`)
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tanet.data.find_videos import VIDEO_SUFFIXES
from tanet.data.listed_video import ListedVideo
from tanet.data.shards.format import SPLITS, ShardEntry, index_path, read_index
from tanet.errors import UserError
from tanet.recipes.recipe import Data
from tanet.runtime.files import name_below, write_atomically
from tanet.video.excerpt import split_part

SETTINGS = "flow.json"
"""File beside stored flow that says how it was computed."""


def flow_name(video: str | Path, root: Path) -> str:
    """Return the name of the flow of a video: its path below the root, without the suffix of a video file.

    Raises:
        UserError: the video is not below the root.
    """
    name = name_below(video, root)
    if name is None:
        raise UserError(f"{video}: not below {root}: give the folder above all videos as the root")
    return without_video_suffix(name)


def without_video_suffix(name: str) -> str:
    """Return a name without its suffix, if it is one of a video file."""
    path = Path(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in VIDEO_SUFFIXES else name


def find_flows(videos: Sequence[ListedVideo], *, root: Path, flow: Path) -> list[str | ShardEntry]:
    """Return where the flow of each video is: a path or a place in a shard. It need not exist.

    Args:
        videos: the videos.
        root: folder of the videos.
        flow: folder of flow.

    Raises:
        UserError: the folder of flow does not exist, or has flow for none of the videos.
    """
    if not flow.is_dir():
        raise UserError(f"{flow}: no such folder of optical flow; tanet data flow VIDEOS FOLDER writes one")
    packed = {
        row.video: row.shard_entry
        for split in SPLITS
        if (index := index_path(flow, split)).exists()
        for row in read_index(index)[0]
    }
    if any(split_part(video.path)[1] for video in videos):
        raise UserError(
            f"{flow}: stored flow of parts of videos (start, end) is not read: leave out --data.flow"
        )
    names = [flow_name(video.path, root) for video in videos]
    found = [packed.get(name, str(flow / name)) for name in names]
    if found and not any(isinstance(place, ShardEntry) or Path(place).exists() for place in found):
        raise UserError(
            f"{flow}: has no flow of these videos, for example {names[0]}: set --data.flow to the folder "
            f"that tanet data flow {root} OUT has written"
        )
    return found


def copy_settings(source: Path, target: Path) -> None:
    """Copy the file that says how flow was computed, if there is one."""
    if (source / SETTINGS).is_file():
        write_atomically(target / SETTINGS, (source / SETTINGS).read_bytes())


def with_stored_settings(data: Data) -> Data:
    """Return a data section with the method and the size of the stored flow in `data.flow` or `data.root`.

    Flow that is computed later, for a network trained on stored flow, then matches the stored flow.

    Raises:
        UserError: the file beside the flow cannot be read.
    """
    folder = data.flow or data.root
    path = Path(folder) / SETTINGS
    if not folder or not path.is_file():
        return data
    try:
        values = json.loads(path.read_bytes())
        return replace(data, flow_method=values["method"], flow_size=(values["width"], values["height"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: does not say how the flow was computed; remove the file") from error

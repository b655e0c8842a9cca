"""Random access to the frames of video files and folders of frame pictures.

    frame i = the i-th picture of plain sequential decoding, upright, RGB                     uint8 [H, W, 3]

    base.py           Video: the interface of every opened video; errors
    video_file.py     a video file, or its bytes: packets → frames
    packet_index.py   which packets hold which frames, without decoding
    avi_packets.py    the packets of an AVI file by its own index, without demuxing all of them
    frame_folder.py   a folder of pictures
    frame_array.py    decoded frames, in memory or in a .npy file
    frame_to_rgb.py   a decoded frame → RGB

A Video must be used by one thread, and decodes in one thread; parallelism comes from the loader's workers.
Only pictures packed in shards are decoded elsewhere, in data/shards/read.py.
"""

from pathlib import Path

import torch
from numpy.typing import ArrayLike

from tanet.video.base import DamagedVideo, Video, VideoError, VideoInfo
from tanet.video.frame_array import FrameArray
from tanet.video.frame_folder import PICTURE_SUFFIXES, PictureFolder
from tanet.video.packet_index import STORES_TIMES
from tanet.video.video_file import VideoFile

__all__ = [
    "ARRAY_SUFFIX",
    "PICTURE_SUFFIXES",
    "STORES_TIMES",
    "DamagedVideo",
    "FrameArray",
    "Video",
    "VideoError",
    "VideoInfo",
    "open_video",
    "probe",
    "read_frames",
]

ARRAY_SUFFIX = ".npy"


def open_video(source: str | Path | bytes, *, name: str | Path | None = None) -> Video:
    """Open a video file, a folder of frame pictures, a .npy file of frames, or the bytes of a video file.

    Args:
        source: a path, or the content of a file.
        name: name of the video in errors; by default its path, or "video in memory" for bytes.

    Raises:
        VideoError: the source is none of these, or has no frames.
    """
    if isinstance(source, bytes):
        return VideoFile(source, name=Path(name or "video in memory"))
    path = Path(source)
    if not path.exists():
        raise VideoError(name or path, "no such file or folder")
    if path.is_dir():
        return PictureFolder(path)
    if path.suffix.lower() == ARRAY_SUFFIX:
        return FrameArray.of_file(path, name=name)
    return VideoFile(path, name=Path(name or path))


def probe(path: str | Path, *, decode: bool = False) -> VideoInfo:
    """Return a video's `VideoInfo` as its file states it, or with `decode` as decoding all of it finds."""
    with open_video(path) as video:
        return video.verify() if decode else video.info


def read_frames(path: str | Path, indices: ArrayLike | torch.Tensor) -> torch.Tensor:
    """Open a video and read frames: uint8 [*S, H, W, 3] for indices of shape S; see `Video.read`."""
    with open_video(path) as video:
        return video.read(indices)

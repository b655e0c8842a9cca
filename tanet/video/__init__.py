"""Random access to the frames of video files and folders of frame pictures.

    frame i = the i-th picture of plain sequential decoding, upright, RGB                     uint8 [H, W, 3]

    base.py           Video, the interface of every opened video, and its errors
    video_file.py     a video file, or its bytes: packets → frames
    packet_index.py   finds the packets of a frame, without decoding
    avi_packets.py    finds the packets of an AVI file in the file's own index, without demuxing the file
    frame_folder.py   a folder of pictures
    frame_array.py    decoded frames, in memory or in a .npy file
    array_layout.py   layouts of arrays → channels last
    array_values.py   values of arrays → uint8
    picture_list.py   single pictures: arrays, PIL pictures, decoded frames, picture files
    excerpt.py        a part of a video: match.mp4#t=12.5,15
    video_source.py   opens any of these
    frame_to_rgb.py   a decoded frame → RGB

Use each `Video` in one thread only. A `Video` decodes in one thread; the loader's worker processes decode in
parallel. Pictures packed in shards are not decoded by this package, but in data/shards/read.py.
"""

from pathlib import Path

import torch
from numpy.typing import ArrayLike

from tanet.video.base import DamagedVideo, Video, VideoError, VideoInfo
from tanet.video.excerpt import Excerpt, split_part
from tanet.video.frame_array import FrameArray
from tanet.video.frame_folder import PICTURE_SUFFIXES, PictureFolder
from tanet.video.packet_index import STORES_TIMES
from tanet.video.packet_store import KEPT
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


def open_video(
    source: str | Path | bytes, *, name: str | Path | None = None, keep_packets: bool = True
) -> Video:
    """Open a video file, a folder of frame pictures, a .npy file of frames, or the bytes of a video file.

    Args:
        source: a path, or the content of a file. A path may end in the part to read: "match.mp4#t=12.5,15"
            (excerpt.py).
        name: name of the video in errors. By default, this is its path, or "video in memory" for bytes.
        keep_packets: whether the packets of a file may stay in memory. For one pass over a long video, they
            need not.

    Raises:
        VideoError: the source cannot be opened as a video, or has no frames.
    """
    if isinstance(source, bytes):
        return VideoFile(source, name=Path(name or "video in memory"))
    path = Path(source)
    try:
        exists = path.exists()
    except OSError as error:  # for example, the name is too long
        raise VideoError(name or path, error.strerror or "cannot be opened") from error
    if not exists:
        whole, part = split_part(path)
        if part:
            video = open_video(whole, name=name and whole, keep_packets=keep_packets)
            try:
                return Excerpt(video, part, name=path)
            except VideoError:
                video.close()
                raise
        raise VideoError(name or path, "no such file or folder")
    if path.is_dir():
        return PictureFolder(path)
    if path.suffix.lower() == ARRAY_SUFFIX:
        return FrameArray.of_file(path, name=name)
    return VideoFile(path, name=Path(name or path), kept=KEPT if keep_packets else 0)


def probe(path: str | Path, *, decode: bool = False) -> VideoInfo:
    """Return the `VideoInfo` that a video's file states. With `decode`, decode and count all frames first."""
    with open_video(path) as video:
        return video.verify() if decode else video.info


def read_frames(path: str | Path, indices: ArrayLike | torch.Tensor) -> torch.Tensor:
    """Open a video and read frames. Indices of shape S give uint8 [*S, H, W, 3]; see `Video.read`."""
    with open_video(path) as video:
        return video.read(indices)

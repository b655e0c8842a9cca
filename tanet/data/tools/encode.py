"""Re-encode videos for shards, as one JPEG per frame or as h264 with closely spaced key frames.

Both formats store colour at half resolution (4:2:0), as nearly all videos do. Pictures of optical flow are
packed as they are: at half resolution, x and y of neighbouring pixels would mix.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tanet.data.flow_video import FlowFolder, find_flow
from tanet.data.samples import Sample, flow_count, frame_count
from tanet.data.shards.format import Format
from tanet.data.transforms import resize_short_side
from tanet.errors import UserError
from tanet.video import Video, VideoError, open_video
from tanet.video.base import translate_errors

if TYPE_CHECKING:
    import av  # only for type checking; functions import av when they need it

# Distance between h264 key frames. To read one frame, the decoder decodes at most this many frames.
GROUP = 4
CHUNK = 2**28  # maximum size of the decoded frames in memory, in bytes
QP2LAMBDA = 118  # FFmpeg's option `global_quality` is 118 times the quantiser step
BLIND_RATE = 25  # frames per second to assume if the video does not state its frame rate


@dataclass(frozen=True)
class Encoding:
    """Settings for storing frames in shards."""

    format: Format = "jpeg"
    short_side: int = 256
    """Short side of the stored frames, in pixels. Smaller frames keep their size. 0 keeps all sizes."""
    quality: int = 90
    """JPEG quality from 1 to 100, only roughly on libjpeg's scale: FFmpeg has just 31 quality steps."""
    crf: int = 20
    """Constant rate factor of h264, from 0 (lossless) to 51."""

    def __post_init__(self) -> None:
        bounds = {"short_side": (0, 16384), "quality": (1, 100), "crf": (0, 51)}
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise UserError(f"{name} must be in the range {low} to {high}, not {getattr(self, name)}")


@dataclass(frozen=True)
class EncodedVideo:
    """A video, or its optical flow, that is ready to be written to a shard."""

    frames: int
    fps: float | None
    height: int
    width: int
    parts: list[bytes]
    """Contents of the encoded files: one mp4, one JPEG per frame, or one or two pictures per flow."""
    names: list[str]
    """Endings of the files' names, for example 000000.jpg."""


def encode(path: Path, *, encoding: Encoding, counts: Mapping[str, int]) -> EncodedVideo | str:
    """Shrink and re-encode a video, or read the pictures of its optical flow.

    Args:
        path: the video.
        encoding: settings for storing frames.
        counts: path → number of leading frames to use. If a path is missing, all frames are used.

    Returns:
        The encoded video, or the reason why it cannot be read.
    """
    try:
        if encoding.format == "flow":
            return _flow(path, counts.get(str(path)))
        with open_video(path) as video:
            fps = video.info.fps
            frames = frame_count(Sample(str(path), 0, counts.get(str(path))), video.frames)
            pictures = _pictures(video, frames, encoding)
            height, width, parts = (
                _jpegs(pictures, encoding) if encoding.format == "jpeg" else _mp4(pictures, encoding, fps)
            )
    except VideoError as error:
        return error.cause if error.path == path else f"{error.path.name}: {error.cause}"
    names = ["mp4"] if encoding.format == "h264" else [f"{number:06d}.jpg" for number in range(frames)]
    return EncodedVideo(frames, fps, height, width, parts, names)


def _flow(path: Path, stated: int | None) -> EncodedVideo:
    """Read the pictures of flow in a folder, after all of them have been decoded.

    Raises:
        VideoError: a picture cannot be read, or the folder holds no flow.
    """
    files = find_flow(path) if path.is_dir() else []
    if not files:
        raise VideoError(path, "no pictures of optical flow; tanet data flow writes them")
    count = flow_count(Sample(str(path), 0, stated), len(files))
    info = FlowFolder(path, files).verify()
    parts, names = [], []
    for number, pictures in enumerate(files[:count]):
        for axis, file in zip(("x", "y") if len(pictures) == 2 else ("xy",), pictures, strict=True):
            with translate_errors(file):
                parts.append(file.read_bytes())
            names.append(f"{number:06d}.{axis}{file.suffix.lower()}")
    return EncodedVideo(count, None, info.height, info.width, parts, names)


def _pictures(video: Video, frames: int, encoding: Encoding) -> Iterator[av.VideoFrame]:
    """Yield the first `frames` frames of a video, shrunk to `encoding.short_side`.

    h264 needs an even height and an even width, so the last row or column is dropped if necessary.
    """
    import av

    chunk = max(GROUP, CHUNK // (3 * video.info.height * video.info.width))
    for start in range(0, frames, chunk):
        pictures = video.read(range(start, min(frames, start + chunk)))  # [T, H, W, 3]
        if 0 < encoding.short_side < min(pictures.shape[1:3]):
            pictures = resize_short_side(pictures, encoding.short_side)
        if encoding.format == "h264":
            pictures = pictures[:, : pictures.shape[1] // 2 * 2, : pictures.shape[2] // 2 * 2]
        for number, picture in enumerate(pictures.contiguous().numpy(), start):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number
            yield frame


def _jpegs(pictures: Iterator[av.VideoFrame], encoding: Encoding) -> tuple[int, int, list[bytes]]:
    """Encode one JPEG per frame. Return height, width and the JPEGs."""
    import av

    # libjpeg scales its quantisation table by 2 - quality/50. FFmpeg scales another table by `step`.
    # On average, FFmpeg quantises as coarsely as libjpeg if `step` is 17 · (2 - quality/50).
    step = str(min(31, max(1, round(17 * (2 - encoding.quality / 50)))))
    options = {"flags": "+qscale", "global_quality": str(QP2LAMBDA * int(step)), "qmin": step, "qmax": step}
    codec, parts = None, []
    for picture in pictures:
        if codec is None:
            codec = cast("av.VideoCodecContext", av.CodecContext.create("mjpeg", "w"))
            codec.height, codec.width, codec.pix_fmt = picture.height, picture.width, "yuvj420p"
            codec.time_base, codec.thread_count, codec.options = Fraction(1, BLIND_RATE), 1, options
        (packet,) = codec.encode(picture)
        parts.append(bytes(packet))
    assert codec is not None
    return codec.height, codec.width, parts


def _mp4(
    pictures: Iterator[av.VideoFrame], encoding: Encoding, fps: float | None
) -> tuple[int, int, list[bytes]]:
    """Encode the frames as an mp4 in memory. Return height, width and the mp4."""
    import av

    rate = Fraction(fps or BLIND_RATE).limit_denominator(1001)
    options = {"crf": str(encoding.crf), "g": str(GROUP), "sc_threshold": "0", "threads": "1"}
    options["tune"] = "fastdecode"  # costs 10 % more bytes and saves a third of the decoding time
    file, stream = io.BytesIO(), None
    with av.open(file, "w", format="mp4") as container:
        for picture in pictures:
            if stream is None:
                stream = container.add_stream("libx264", rate=rate, options=options)
                stream.height, stream.width, stream.pix_fmt = picture.height, picture.width, "yuv420p"
            picture.time_base = 1 / rate
            container.mux(stream.encode(picture))
        assert stream is not None
        container.mux(stream.encode(None))
        height, width = stream.height, stream.width
    return height, width, [file.getvalue()]

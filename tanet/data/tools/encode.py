"""Re-encoding of videos for shards: one JPEG per frame, or h264 with closely spaced key frames.

Both formats store colour at half resolution (4:2:0), as nearly all videos do.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tanet.data.samples import Sample, frame_count
from tanet.data.shards.format import Format
from tanet.data.transforms import resize_short_side
from tanet.errors import UserError
from tanet.video import Video, VideoError, open_video

if TYPE_CHECKING:
    import av  # loaded only when something is encoded

GROUP = 4  # distance of h264 key frames: reading one frame decodes at most this many pictures
CHUNK = 2**28  # bytes of decoded frames to hold at once
QP2LAMBDA = 118  # FFmpeg's factor from a quantiser step to `global_quality`
BLIND_RATE = 25  # frames per second to assume if the video does not state its frame rate


@dataclass(frozen=True)
class Encoding:
    """How frames are stored."""

    format: Format = "jpeg"
    short_side: int = 256
    """Short side in pixels; smaller videos are not resized. 0 resizes none."""
    quality: int = 90
    """jpeg: 1 to 100, roughly libjpeg's scale: FFmpeg has only 31 steps, and its own quantisation table."""
    crf: int = 20
    """h264: constant rate factor, from 0 (lossless) to 51."""

    def __post_init__(self) -> None:
        bounds = {"short_side": (0, 16384), "quality": (1, 100), "crf": (0, 51)}
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise UserError(f"{name} must be in {low} to {high}, not {getattr(self, name)}")


@dataclass(frozen=True)
class EncodedVideo:
    """A video as a shard stores it."""

    frames: int
    fps: float | None
    height: int
    width: int
    parts: list[bytes]
    """The mp4, or one JPEG per frame."""


def encode(path: Path, *, encoding: Encoding, counts: Mapping[str, int]) -> EncodedVideo | str:
    """Shrink and re-encode a video.

    Args:
        path: the video.
        encoding: how frames are stored.
        counts: path → number of leading frames to use; a video not listed is used in full.

    Returns:
        The encoded video, or the reason why it cannot be read.
    """
    try:
        with open_video(path) as video:
            fps = video.info.fps
            frames = frame_count(Sample(str(path), 0, counts.get(str(path))), video.frames)
            pictures = _pictures(video, frames, encoding)
            height, width, parts = (
                _jpegs(pictures, encoding) if encoding.format == "jpeg" else _mp4(pictures, encoding, fps)
            )
    except VideoError as error:
        return error.cause
    return EncodedVideo(frames, fps, height, width, parts)


def _pictures(video: Video, frames: int, encoding: Encoding) -> Iterator[av.VideoFrame]:
    """Yield the first frames of a video, shrunk. h264 needs even sides: an odd row or column is cropped."""
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

    # libjpeg scales its quantisation table by 2 - quality/50; FFmpeg scales another table by the step.
    # On average, both are equally coarse if step = 17 · (2 - quality/50).
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
    """Encode an mp4 in memory. Return height, width and the mp4."""
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

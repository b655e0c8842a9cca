"""Cut segments out of a video file without encoding again.

A clip starts at the last key frame at or before its segment, because the frames after it need that key frame.
Packets of the first video stream and of the first audio stream are copied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tanet.inference.timeline import Segment
from tanet.inference.video_names import name_of
from tanet.video.base import VideoError, translate_errors
from tanet.video.excerpt import split_part

if TYPE_CHECKING:
    from av.container import InputContainer

SAME_CONTAINER = (".mp4", ".mov", ".m4v", ".mkv", ".webm")
"""Suffixes of files whose clips keep the container; other clips are Matroska files."""


def cut_clips(video: Path, segments: Sequence[Segment], folder: Path) -> Iterator[str]:
    """Write one file for each segment: NAME-001-LABEL.mp4, ….

    Yields:
        Notes for the user, one line each: clips that start early, and videos that cannot be cut.

    Raises:
        VideoError: the video cannot be read.
        OSError: a clip cannot be written.
    """
    name, video = name_of(video), split_part(video)[0]
    if not video.is_file() or video.suffix.lower() == ".npy":
        yield f"{video}: not a video file, so no clips are cut"
        return
    folder.mkdir(parents=True, exist_ok=True)
    suffix = video.suffix.lower() if video.suffix.lower() in SAME_CONTAINER else ".mkv"
    early = 0
    for number, segment in enumerate(segments, 1):
        label = re.sub(r"[^\w-]+", "_", segment.label).strip("_")[:60] or "segment"
        path = folder / f"{name}-{number:03d}-{label}{suffix}"
        early += _cut(video, segment, path) > 0.5
    if early:
        yield f"{video}: {early} of {len(segments)} clips start up to a key frame early"


def _cut(video: Path, segment: Segment, path: Path) -> float:
    """Copy the packets of a segment. Return how many seconds before it the clip starts."""
    import av

    unfinished = path.with_name(f".{path.name}")
    try:
        with translate_errors(video), av.open(f"file:{video}") as source:
            if not source.streams.video:
                raise VideoError(video, "no video stream")
            kind = "matroska" if path.suffix == ".mkv" else None
            with av.open(
                str(unfinished), "w", format=kind or path.suffix[1:].replace("m4v", "mp4")
            ) as target:
                start = _copy(source, target, segment)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return segment.start - start


def _copy(source: InputContainer, target: object, segment: Segment) -> float:
    from av.container import OutputContainer

    assert isinstance(target, OutputContainer)
    video = source.streams.video[0]
    streams = [video, *source.streams.audio[:1]]
    copies = {stream.index: target.add_stream_from_template(stream) for stream in streams}
    assert video.time_base is not None
    first = (video.start_time or 0) * video.time_base
    begin, end = first + segment.start, first + segment.end
    source.seek(int(begin / video.time_base), stream=video, backward=True)
    start: float | None = None
    done: set[int] = set()
    for packet in source.demux(streams):
        if packet.dts is None or packet.pts is None or packet.time_base is None:
            continue
        index, time = packet.stream.index, float(packet.pts * packet.time_base)
        if start is None and index == video.index:
            start = time
        if start is None or (index != video.index and time < start):
            continue
        if float(packet.dts * packet.time_base) >= end:
            done.add(index)
            if len(done) == len(streams):
                break
        if index in done or time >= end:
            continue
        shift = round(start / packet.time_base)
        packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
        packet.stream = copies[index]
        target.mux(packet)
    return float((start if start is not None else begin) - first)

"""What is wrong with video files: each is opened, its packets are counted, and all of it is decoded.

    unreadable   it can not be opened, or nothing of it decodes
    no-video     sound alone, or no stream at all
    empty        no byte, no picture, or a video stream without a frame
    truncated    fewer frames decode than it promises: cut off, or damaged on the way
    short        whole, but of fewer frames than are asked for
    hanging      not done within the limit
    crashed      the process that decoded it died
    odd          fine, though worth knowing: variable frame rate, turned on its side, an odd number of pixels
    ok           nothing of all this

What a file promises is what its header says, or its packets, whichever is more. Frames are counted here, not
looked at: damage that the decoder covers up stays unseen, and so does a picture that stands on its head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from tanet.runtime.process_pool import FailedFile, map_files
from tanet.video import PICTURE_SUFFIXES, STORES_TIMES, VideoError, open_video

if TYPE_CHECKING:
    from av.container import InputContainer  # loaded only when something is checked

Verdict = Literal["ok", "odd", "unreadable", "truncated", "empty", "no-video", "short", "hanging", "crashed"]
USABLE: tuple[Verdict, ...] = ("ok", "odd")


@dataclass(frozen=True)
class Finding:
    """One video and what was found."""

    path: str
    verdict: Verdict
    cause: str = ""
    """Why it is bad, or odd."""
    promised: int | None = None
    """Frames that it says it has; from a stated duration, to a frame or two."""
    frames: int | None = None
    """Frames that decode."""
    fps: float | None = None
    height: int | None = None
    """In pixels, upright."""
    width: int | None = None

    @property
    def usable(self) -> bool:
        """Whether training can use it."""
        return self.verdict in USABLE


def check_videos(paths: Sequence[Path], *, workers: int, limit: float, min_frames: int) -> Iterator[Finding]:
    """The findings for many videos, in no settled order.

    Args:
        paths: files, or folders of frame pictures.
        workers: processes at a time.
        limit: seconds for one video.
        min_frames: a video of fewer is short.
    """
    work = partial(check_video, min_frames=min_frames)
    for path, result in map_files(work, paths, workers=workers, limit=limit):
        yield Finding(str(path), result.kind, result.cause) if isinstance(result, FailedFile) else result


def check_video(path: Path, *, min_frames: int) -> Finding:
    """Open a video and decode all of it."""
    finding, header = Finding(str(path), "ok"), None
    try:
        if path.is_dir() and not any(file.suffix.lower() in PICTURE_SUFFIXES for file in path.iterdir()):
            return replace(finding, verdict="empty", cause="no picture in it")
        if path.is_file():
            if not path.stat().st_size:
                return replace(finding, verdict="empty", cause="no byte in it")
            header = _Header.of(path)
            if not header.videos:
                cause = "no video stream, only sound" if header.sounds else "no stream"
                return replace(finding, verdict="no-video", cause=cause)
            if not header.packets:
                return _judge(replace(finding, promised=header.promised, frames=0), min_frames)
        with open_video(path) as video:
            promised = max(video.frames, header.promised if header else 0)
            info = video.verify()
    except VideoError as error:
        place = "" if error.path == path else f"{error.path.name}: "
        return replace(finding, verdict="unreadable", cause=f"{place}{error.cause}")
    finding = Finding(str(path), "ok", "", promised, info.frames, info.fps, info.height, info.width)
    notes = []
    if header and header.varies:
        notes.append("variable frame rate")
    if header and header.size == (info.width, info.height) != (info.height, info.width):
        notes.append("turned on its side")
    if info.height % 2 or info.width % 2:
        notes.append(f"odd number of pixels ({info.width} × {info.height})")
    return _judge(replace(finding, verdict="odd" if notes else "ok", cause=", ".join(notes)), min_frames)


def _judge(finding: Finding, min_frames: int) -> Finding:
    """The finding, unless its frames are too few."""
    frames, promised = finding.frames or 0, finding.promised or 0
    if frames < promised:
        return replace(finding, verdict="truncated", cause=f"{frames} of {promised} frames decode")
    if not frames:
        return replace(finding, verdict="empty", cause="a video stream without frames")
    if frames < min_frames:
        return replace(finding, verdict="short", cause=f"frames: {frames}, fewer than {min_frames}")
    return finding


@dataclass(frozen=True)
class _Header:
    """What a file tells without decoding."""

    videos: int  # streams of moving pictures
    sounds: int
    packets: int = 0  # of the first video stream
    promised: int = 0  # frames that must be there; 0 where nothing tells
    varies: bool = False  # whether frames follow each other at different times
    size: tuple[int, int] = (0, 0)  # height and width as stored, before it is turned upright

    @classmethod
    def of(cls, path: Path) -> Self:
        import av
        from av.error import FFmpegError

        try:
            # By an edit list a file leaves out frames that it has, and nothing is wrong with that.
            with av.open(f"file:{path}", options={"ignore_editlist": "1"}) as container:
                return cls._read(container)
        except (FFmpegError, OSError) as error:
            raise VideoError(path, error.strerror or type(error).__name__) from error
        except UnicodeDecodeError as error:
            raise VideoError(path, "metadata that is not UTF-8") from error

    @classmethod
    def _read(cls, container: InputContainer) -> Self:
        import av
        from av.error import FFmpegError

        sounds = len(container.streams.audio)
        videos = [s for s in container.streams.video if not s.disposition & s.disposition.attached_pic]
        if not videos:
            return cls(0, sounds)
        stream, codec = videos[0], videos[0].codec_context
        times, sizes, starts, ends = [], [], [], []
        with suppress(FFmpegError):  # a file cut short is as long as what is left of it
            for packet in container.demux():
                if packet.stream is stream and (packet.size or packet.pts is not None):
                    sizes.append(packet.size)
                    times += [] if packet.pts is None else [packet.pts]
                if packet.pts is not None and packet.time_base:
                    starts.append(packet.pts * packet.time_base)
                    ends.append((packet.pts + (packet.duration or 0)) * packet.time_base)
        height, width = (codec.height, codec.width) if codec else (0, 0)
        promised = stream.frames if stream.frames > len(sizes) else 0
        if not stream.frames and starts and container.format.name in STORES_TIMES:
            # Sound may go on after the last picture, so a cut is seen in the end of all streams.
            stated = Fraction(container.duration or 0, av.time_base)
            if stated - (max(ends) - min(starts)) > max(Fraction(1, 2), stated / 20):
                promised = round(stated * (stream.average_rate or 0))
        elif not promised and container.format.name == "avi" and codec and codec.name == "mpeg4":
            # A coded MPEG-4 picture spends at least a bit a macroblock; a smaller packet need not show any.
            macroblocks = -(-width // 16) * -(-height // 16)
            promised = sum(8 * size >= macroblocks for size in sizes)
        return cls(len(videos), sounds, len(sizes), promised, _varies(times), (height, width))


def _varies(times: list[int]) -> bool:
    """Whether the gaps between frames differ by more than rounding does, and by more than a tenth."""
    gaps = sorted(after - before for before, after in pairwise(sorted(times)))
    return bool(gaps) and gaps[-1] - gaps[0] > max(2, gaps[len(gaps) // 2] / 10)

"""Check video files for faults: open each file, count its packets, and decode all of its frames.

The result is one of these verdicts:

    unreadable   the file cannot be opened, or none of its frames can be decoded
    no-video     the file contains only sound, or no stream at all
    empty        an empty file, a folder without pictures, or a video stream without frames
    truncated    fewer frames can be decoded than the file promises: the file was cut off or damaged
    short        the file is intact, but has fewer frames than required
    hanging      the check did not finish within the time limit
    crashed      the process that decoded the video died
    odd          usable, but unusual: variable frame rate, rotated by 90°, an odd number of pixels
    ok           none of the above

The number of frames that a file promises is the number in its header or the number of its packets, whichever
is larger. The check counts frames, but does not inspect their pixels. So it does not notice damage that the
decoder conceals, or a video that is upside down.
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

from tanet.data.flow_video import FlowFolder, find_flow, holds_only_flow
from tanet.runtime.process_pool import FailedFile, map_files
from tanet.video import ARRAY_SUFFIX, STORES_TIMES, Video, VideoError, open_video
from tanet.video.frame_folder import is_picture
from tanet.video.stream_choice import choose_stream

if TYPE_CHECKING:
    from av.container import InputContainer  # only for type checking; methods import av when they need it

Verdict = Literal["ok", "odd", "unreadable", "truncated", "empty", "no-video", "short", "hanging", "crashed"]
USABLE: tuple[Verdict, ...] = ("ok", "odd")


@dataclass(frozen=True)
class Finding:
    """The result of checking one video."""

    path: str
    verdict: Verdict
    cause: str = ""
    """Reason for the verdict; empty if the verdict is ok."""
    promised: int | None = None
    """Number of frames that the file promises; an estimate from the duration may be off by one or two."""
    frames: int | None = None
    """Number of frames that can be decoded."""
    fps: float | None = None
    height: int | None = None
    """Height of the upright frame, in pixels."""
    width: int | None = None

    @property
    def usable(self) -> bool:
        """Whether training can use the video."""
        return self.verdict in USABLE


def check_videos(paths: Sequence[Path], *, workers: int, limit: float, min_frames: int) -> Iterator[Finding]:
    """Check many videos. Yield one finding per video, in arbitrary order.

    Args:
        paths: video files, or folders of frame images.
        workers: number of processes.
        limit: time limit for one video, in seconds.
        min_frames: a video with fewer frames gets the verdict "short".
    """
    work = partial(check_video, min_frames=min_frames)
    for path, result in map_files(work, paths, workers=workers, limit=limit):
        yield Finding(str(path), result.kind, result.cause) if isinstance(result, FailedFile) else result


def check_video(path: Path, *, min_frames: int) -> Finding:
    """Check one video: open the video and decode all of its frames."""
    finding, header = Finding(str(path), "ok"), None
    try:
        if path.is_dir() and not any(is_picture(file) for file in path.iterdir()):
            return replace(finding, verdict="empty", cause="the folder holds no pictures")
        if path.is_file() and not path.stat().st_size:
            return replace(finding, verdict="empty", cause="the file is empty")
        if path.is_file() and path.suffix.lower() != ARRAY_SUFFIX:
            header = _Header.of(path)
            if not header.videos:
                cause = "no video stream, only sound" if header.sounds else "no stream"
                return replace(finding, verdict="no-video", cause=cause)
            if not header.packets:
                return _judge(replace(finding, promised=header.promised, frames=0), min_frames)
        with _open(path) as video:
            promised = max(video.frames, header.promised if header else 0)
            info = video.verify()
    except VideoError as error:
        place = "" if error.path == path else f"{error.path.name}: "
        return replace(finding, verdict="unreadable", cause=f"{place}{error.cause}")
    finding = Finding(str(path), "ok", "", promised, info.frames, info.fps, info.height, info.width)
    notes = list(video.notes)
    if header and header.varies:
        notes.append("variable frame rate")
    if header and header.size == (info.width, info.height) != (info.height, info.width):
        notes.append("rotated by 90°")
    if info.height % 2 or info.width % 2:
        notes.append(f"odd number of pixels ({info.width} × {info.height})")
    return _judge(replace(finding, verdict="odd" if notes else "ok", cause=", ".join(notes)), min_frames)


def _open(path: Path) -> Video:
    """Open a video, or a folder that holds nothing but pictures of optical flow."""
    if path.is_dir() and holds_only_flow(path):
        return FlowFolder(path, find_flow(path))
    return open_video(path)


def _judge(finding: Finding, min_frames: int) -> Finding:
    """Change the verdict if the video has too few frames. Otherwise, return the finding unchanged."""
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
    """Facts about a video file that can be found without decoding frames."""

    videos: int  # 1 if there is a video stream besides cover pictures, else 0
    sounds: int  # number of audio streams
    packets: int = 0  # number of packets of the video stream
    promised: int = 0  # number of frames that the file should contain; 0 if unknown
    varies: bool = False  # whether the frame rate varies
    size: tuple[int, int] = (0, 0)  # height and width as stored, before rotation

    @classmethod
    def of(cls, path: Path) -> Self:
        import av
        from av.error import FFmpegError

        try:
            # An edit list can hide frames of a file. Hidden frames are not a fault, so ignore edit lists.
            with av.open(f"file:{path}", options={"ignore_editlist": "1"}) as container:
                return cls._read(container)
        except (FFmpegError, OSError) as error:
            raise VideoError(path, error.strerror or type(error).__name__) from error
        except UnicodeDecodeError as error:
            raise VideoError(path, "the metadata is not UTF-8") from error

    @classmethod
    def _read(cls, container: InputContainer) -> Self:
        import av
        from av.error import FFmpegError

        sounds = len(container.streams.audio)
        stream, _ = choose_stream(container)
        if stream is None:
            return cls(0, sounds)
        codec = stream.codec_context
        times, sizes, starts, ends = [], [], [], []
        with suppress(FFmpegError):  # in a truncated file, count the packets before the error
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
            # Sound may continue after the last frame, so compare the duration with the end of all streams.
            # The file was cut off if more than 0.5 s and more than 5 % of the stated duration are missing.
            stated = Fraction(container.duration or 0, av.time_base)
            if stated - (max(ends) - min(starts)) > max(Fraction(1, 2), stated / 20):
                promised = round(stated * (stream.average_rate or 0))
        elif not promised and container.format.name == "avi" and codec and codec.name == "mpeg4":
            # A coded MPEG-4 frame has at least one bit per macroblock, so smaller packets are not frames.
            macroblocks = -(-width // 16) * -(-height // 16)
            promised = sum(8 * size >= macroblocks for size in sizes)
        return cls(1, sounds, len(sizes), promised, _varies(times), (height, width))


def _varies(times: list[int]) -> bool:
    """Return whether the frame rate varies.

    The rate varies if the longest and the shortest interval between frames differ by more than 2 ticks (the
    rounding error) and by more than a tenth of the median interval.
    """
    gaps = sorted(after - before for before, after in pairwise(sorted(times)))
    return bool(gaps) and gaps[-1] - gaps[0] > max(2, gaps[len(gaps) // 2] / 10)

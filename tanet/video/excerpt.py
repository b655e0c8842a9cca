"""A part of a video, which can be used like a whole video.

    match.mp4#t=12.5,15         the frames displayed from 12.5 s up to, but not including, 15 s
    match.mp4#t=12.5            the frames from 12.5 s to the end
    match.mp4#frames=300,450    frames 300 … 449; also of a folder of frames

The form with t is that of media fragments (W3C, Media Fragments URI 1.0). Times count from the first frame,
in seconds or as [hours:]minutes:seconds.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tanet.video.base import DamagedVideo, Video, VideoError, VideoInfo

FRAGMENT = re.compile(r"#(t|frames)=([^#/]*)$", re.IGNORECASE)
FORMS = "write #t=START,END in seconds or as h:m:s, or #frames=FIRST,END"
LONGEST = 1e7
"""Largest time, in seconds, and largest number of a frame."""
CLOSE = 1e-4
"""In seconds. Closer times count as equal, because lists round them."""


@dataclass(frozen=True)
class Part:
    """Part of a video, in seconds or in frames."""

    start: float
    end: float | None
    """The part ends before this time or frame; None for the end of the video."""
    in_frames: bool = False

    def fragment(self) -> str:
        """Return the part as the end of a path."""
        ends = [_text(self.start), *([] if self.end is None else [_text(self.end)])]
        return f"#{'frames' if self.in_frames else 't'}={','.join(ends)}"

    def frames_of(self, video: Video) -> range:
        """Return the numbers of the part's frames.

        Raises:
            VideoError: the part lies outside the video.
        """
        if self.in_frames:
            end = video.frames if self.end is None else min(video.frames, int(self.end))
            found = range(int(self.start), end)
            what = f"frame {int(self.start)} in a video of {video.frames} frames"
        else:
            times = video.times()
            length = length_of(video, times)
            first = int(np.searchsorted(times, self.start - CLOSE))
            last = len(times) if self.end is None else int(np.searchsorted(times, self.end - CLOSE))
            # A part that is shorter than the distance of two frames is the frame displayed at its start.
            found = range(first, last) if last > first else range(max(0, first - 1), max(1, first))
            found = found if self.start < length - CLOSE or not self.start else range(0)
            what = f"time {_text(self.start)} s in a video of {length:.1f} s"
        if not found:
            raise VideoError(video.path, f"there is no {what}")
        return found


def length_of(video: Video, times: NDArray[np.float64] | None = None) -> float:
    """Return the length of a video in seconds: its last frame is as long as the others on average.

    Args:
        video: an opened video.
        times: its `times()`, if they are known.
    """
    times = video.times() if times is None else times
    step = float(times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 1 / (video.fps or 30.0)
    return float(times[-1]) + step


def split_part(path: str | Path) -> tuple[Path, Part | None]:
    """Split a path such as match.mp4#t=1,2 into the video and the part.

    A path without a part, or of an existing file, is returned as it is, with None.

    Raises:
        VideoError: the part is wrong, for example because it ends before it starts.
    """
    match = FRAGMENT.search(str(path))
    if match is None or Path(path).exists():
        return Path(path), None
    unit, ends = match.groups()
    start, _, end = ends.partition(",")
    try:
        if not ends.strip(","):
            raise ValueError(ends)
        return Path(str(path)[: match.start()]), make_part(start, end, in_frames=unit.lower() == "frames")
    except ValueError as error:
        cause = str(error) if str(error).startswith("the end") else FORMS
        raise VideoError(path, f"not a part of a video: {cause}") from error


def make_part(start: str, end: str, *, in_frames: bool) -> Part:
    """Make a part from text; "" is the start or the end of the video.

    Raises:
        ValueError: the text is no time or number of a frame, or the end does not come after the start.
    """
    parse = _parse_number if in_frames else parse_time
    part = Part(parse(start) if start else 0.0, parse(end) if end else None, in_frames)
    if part.end is not None and part.end <= part.start:
        raise ValueError(f"the end, {end}, must come after the start, {start or 0}")
    return part


def _parse_number(text: str) -> float:
    if not text.isdecimal() or int(text) > LONGEST:
        raise ValueError(text)
    return float(text)


def parse_time(text: str) -> float:
    """Parse seconds, or [hours:]minutes:seconds.

    Raises:
        ValueError: the text is neither.
    """
    if not re.fullmatch(r"\s*(\d+:){0,2}(\d+(\.\d*)?|\.\d+)\s*", text):
        raise ValueError(text)
    seconds = 0.0
    for number in text.split(":"):
        seconds = 60 * seconds + float(number)
    if seconds > LONGEST:
        raise ValueError(text)
    return seconds


def _text(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


class Excerpt(Video):
    """Part of an opened video. `close` closes the video.

    Args:
        whole: the video.
        part: the part.
        name: path of the part in messages.

    Raises:
        VideoError: the part lies outside the video.
    """

    def __init__(self, whole: Video, part: Part, *, name: Path) -> None:
        self.whole, self.path, self.fps = whole, name, whole.fps
        found = part.frames_of(whole)
        self.first, self.frames = found.start, len(found)
        times = whole.times()
        self.offset = float(times[self.first])
        self._own_notes: tuple[str, ...] = ()
        if part.end is not None and not part.in_frames and part.end > (length := length_of(whole, times)) + 1:
            self._own_notes = (f"the part ends at {_text(part.end)} s, but the video at {length:.1f} s",)
        self.notes = self._own_notes

    @property
    def info(self) -> VideoInfo:
        """Number of frames of the part, frame rate and size of the video."""
        whole = self.whole.info
        return VideoInfo(self.frames, whole.fps, whole.height, whole.width)

    def times(self) -> np.ndarray:
        """Return when each frame is displayed, in seconds after the first frame of the part."""
        times = self.whole.times()[self.first : self.first + self.frames]
        return times - times[0]

    def close(self) -> None:
        """Close the video."""
        self.whole.close()

    def _passes(self, numbers: np.ndarray) -> Iterator[np.ndarray]:
        for part in self.whole._passes(numbers + self.first):
            yield part - self.first

    def _pixels(self, numbers: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        try:
            for number, pixels in self.whole._pixels([number + self.first for number in numbers]):
                yield number - self.first, pixels
        except DamagedVideo as damage:
            self.frames = max(0, damage.frames - self.first)
            raise DamagedVideo(self.path, damage.cause, self.frames) from damage
        finally:
            self.notes = (*self._own_notes, *self.whole.notes)

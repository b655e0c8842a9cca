"""What a user names as a live source, and how FFmpeg opens it.

0, 1, …                     a camera
rtsp://… udp://… http://…   a network stream
video.mp4, file:///…        a file
"""

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tanet.errors import UserError

# Packets are handed on as they come, and little of a stream is read before the first picture.
LOW_DELAY = {"fflags": "nobuffer", "flags": "low_delay", "analyzeduration": "1000000", "probesize": "1000000"}
PROTOCOLS = {
    "rtsp": {"rtsp_transport": "tcp"},
    "udp": {"overrun_nonfatal": "1", "fifo_size": "50000"},
}
CREDENTIALS = re.compile(r"//.*@")


@dataclass(frozen=True)
class LiveSource:
    """A source of frames, as FFmpeg opens it."""

    place: str
    """File or address for FFmpeg."""
    live: bool
    """Whether frames come at their own pace, and are lost if they are not taken."""
    format: str | None = None
    options: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The source for messages, without passwords."""
        shown = CREDENTIALS.sub("//", self.place.removeprefix("file:"))
        return shown.partition("?")[0] if self.live else shown


def parse_source(text: str) -> LiveSource:
    """Find out what a user means.

    Raises:
        UserError: there is no such camera or file.
    """
    if text.isdecimal():
        return _camera(int(text))
    protocol, separator, _ = text.partition("://")
    protocol = protocol.lower()
    if separator and protocol != "file":
        options = LOW_DELAY | PROTOCOLS.get(protocol, {})
        return LiveSource(text, live=True, options=options)
    # file:///home/me/my%20video.mp4 is an address; file:my video.mp4 is FFmpeg's form.
    path = Path(unquote(urlsplit(text).path) if separator else text.removeprefix("file:"))
    if str(path).startswith("/dev/video"):
        return _camera_at(path)
    if not path.is_file():
        raise UserError(f"{text}: no such file; a source is a camera's number, an address or a video file")
    return LiveSource(f"file:{path}", live=False)


def _camera(number: int) -> LiveSource:
    if sys.platform == "darwin":
        return LiveSource(str(number), live=True, format="avfoundation", options={"framerate": "30"})
    if sys.platform == "win32":
        raise UserError("a camera of Windows has a name: give the address of a stream of it")
    return _camera_at(Path(f"/dev/video{number}"))


def _camera_at(path: Path) -> LiveSource:
    if not path.exists():
        found = sorted(place.name.removeprefix("video") for place in path.parent.glob("video*"))
        raise UserError(f"no camera {path}: {'found ' + ', '.join(found) if found else 'there is none'}")
    return LiveSource(str(path), live=True, format="v4l2", options=dict(LOW_DELAY))

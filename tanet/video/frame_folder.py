"""Video made of a folder of frame pictures, in natural order of their names: img_2 before img_10."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tanet.video.base import Video, VideoError, translate_errors

if TYPE_CHECKING:
    import av

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
PICTURE_CODECS = {b"\xff\xd8": "mjpeg", b"\x89P": "png", b"BM": "bmp", b"RI": "webp"}  # first bytes → codec


class PictureFolder(Video):
    """A folder of pictures of one size, read as a video; other files are ignored."""

    def __init__(self, path: Path) -> None:
        self.path = path
        files = [file for file in path.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES]
        if not files:
            raise VideoError(path, f"a folder without pictures ({', '.join(PICTURE_SUFFIXES)})")
        self._files = sorted(files, key=lambda file: re.sub("[0-9]+", lambda n: n[0].zfill(20), file.name))
        self.frames = len(files)

    def _decode(self, numbers: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame, Path]]:
        for number in numbers:
            yield number, _decode_picture(self._files[number]), self._files[number]


def _decode_picture(file: Path) -> av.VideoFrame:
    import av

    with translate_errors(file):
        data = file.read_bytes()
        if (name := PICTURE_CODECS.get(data[:2])) is None:
            raise VideoError(file, "not a picture")
        codec = cast("av.VideoCodecContext", av.CodecContext.create(name, "r"))
        packet = av.Packet(len(data))  # in FFmpeg's own memory: decoders read past the end of the data
        packet.update(data)
        for frame in (*codec.decode(packet), *codec.decode(None)):
            return frame
    raise VideoError(file, "the picture does not decode")

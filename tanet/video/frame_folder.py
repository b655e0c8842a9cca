"""Video made of a folder of frame pictures. The names are sorted by their numbers: img_2 before img_10.

Pictures whose names differ only in numbers are a series. The frames are one series, but the folder may also
contain a series of optical flow, a cover and hidden files. A series is ignored if its name is usual for flow,
masks or thumbnails. If several series are left, the folder is refused.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tanet.video.base import Video, VideoError, translate_errors

if TYPE_CHECKING:
    import av

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
PICTURE_CODECS = {b"\xff\xd8": "mjpeg", b"\x89P": "png", b"BM": "bmp", b"RI": "webp"}  # first bytes → codec
# Names of pictures that are not frames: optical flow (as in TSN, TSM, mmaction2 and I3D), covers, thumbnails.
OTHER_SERIES = re.compile(r"(flow|flow_?[xyuv]|[xyuv]|thumb(nail)?|cover|folder|poster|depth|mask)s?")


class PictureFolder(Video):
    """Folder of pictures, read as a video. Hidden files and files that are not pictures are ignored."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files = sorted(_frames_of(path), key=lambda file: natural_key(file.name))
        self.frames = len(self._files)

    def _decode(self, numbers: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame, Path]]:
        for number in numbers:
            yield number, decode_picture(self._files[number]), self._files[number]


def is_picture(file: Path) -> bool:
    """Return whether a file has a picture's suffix and is not hidden. For example, ._img_1.jpg is hidden."""
    return file.suffix.lower() in PICTURE_SUFFIXES and not file.name.startswith(".")


def natural_key(name: str) -> str:
    """Return a key that sorts names by their numbers: img_2 before img_10."""
    return re.sub("[0-9]+", lambda number: number[0].zfill(20), name)


def _frames_of(path: Path) -> list[Path]:
    """Return the pictures of the series of frames in a folder.

    Raises:
        VideoError: the folder has no pictures, or pictures of several series.
    """
    with translate_errors(path):
        files = sorted(file for file in path.iterdir() if is_picture(file))
    if not files:
        raise VideoError(path, f"a folder without pictures ({', '.join(PICTURE_SUFFIXES)})")
    twice = len({file.stem for file in files}) < len(files)  # whether a name occurs with several suffixes
    series: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        name = re.sub("[0-9]+", "#", file.stem)
        series[name + file.suffix.lower() if twice else name].append(file)
    frames = {name: own for name, own in series.items() if not _is_other(name)} or series
    if any(len(own) > 1 for own in frames.values()):
        # If there are several pictures of one series, a single picture without a number is a cover.
        frames = {name: own for name, own in frames.items() if len(own) > 1 or "#" in name}
        if len(frames) > 1:
            ones, twos = sorted(frames.values(), key=len, reverse=True)[:2]
            if all(map(_is_other, series)):
                raise VideoError(
                    path, f"pictures like {ones[0].name}, {twos[0].name}: optical flow, not frames"
                )
            kinds = f"{len(ones)} like {ones[0].name}, {len(twos)} like {twos[0].name}"
            raise VideoError(path, f"several series of pictures: {kinds}; keep one series in a folder")
    return [file for own in frames.values() for file in own]


def _is_other(series: str) -> bool:
    letters = re.sub("[^a-z]+", "_", series.lower()).strip("_")
    return OTHER_SERIES.fullmatch(letters) is not None


def decode_picture(source: Path | bytes) -> av.VideoFrame:
    """Decode a picture from a file, or from the file's content.

    Raises:
        VideoError: the picture cannot be read or does not decode.
    """
    import av

    file = Path("picture in memory") if isinstance(source, bytes) else source
    with translate_errors(file):
        data = source if isinstance(source, bytes) else source.read_bytes()
        if (name := PICTURE_CODECS.get(data[:2])) is None:
            raise VideoError(file, "not a picture")
        codec = cast("av.VideoCodecContext", av.CodecContext.create(name, "r"))
        # Copy the data to FFmpeg's own memory, which ends in zeros, because decoders read past the data.
        packet = av.Packet(len(data))
        packet.update(data)
        for frame in (*codec.decode(packet), *codec.decode(None)):
            return frame
    raise VideoError(file, "the picture does not decode")

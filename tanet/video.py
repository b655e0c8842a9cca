"""Frames of a video file, or of a folder of frame pictures, by their numbers. The only file that decodes.

    frame i = the i-th picture that plain sequential decoding gives, upright, RGB             uint8 [H, W, 3]

The packets of a file are read once, without decoding, and stay in memory, compressed, until it is closed:
nothing seeks. Sorted by time they give the order of display, also for variable frame rates. A wanted frame
then costs its group of pictures from the key packet up to it, and there pictures that no other refers to are
left out; the result equals sequential decoding bit for bit. A file whose packets do not tell its frames, or
promise frames that it does not have, is decoded from its start.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import av  # loaded only when something is decoded

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
PICTURE_CODECS = {b"\xff\xd8": "mjpeg", b"\x89P": "png", b"BM": "bmp", b"RI": "webp"}  # by content: names lie
# Decoders whose packet always holds one picture → whether leaving out those marked as unreferenced is exact:
# in HEVC a higher temporal layer may still refer to them, and the other decoders leave out nothing.
SKIPS_EXACTLY = {"h264": True, "mpeg4": True, "hevc": False, "vp9": False, "libdav1d": False, "mjpeg": False}
# Containers that store when a frame is shown; in others that is a guess as soon as pictures are reordered.
STORES_TIMES = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flv")


class VideoError(ValueError):
    """A video that cannot be read: its path and the cause, on one line."""

    def __init__(self, path: str | Path, cause: str) -> None:
        super().__init__(path, cause)  # not the line itself, so that pickle can rebuild the error
        self.path, self.cause = Path(path), cause

    def __str__(self) -> str:
        return f"{self.path}: {self.cause}"


class DamagedVideo(VideoError):
    """A wanted frame does not decode; frames 0 … `frames`-1 do."""

    def __init__(self, path: str | Path, cause: str, frames: int) -> None:
        super().__init__(path, cause)
        self.args, self.frames = (path, cause, frames), frames


@dataclass(frozen=True)
class VideoInfo:
    """`frames`: what the file promises, or after Video.verify what it has. Sizes in pixels, upright."""

    frames: int
    fps: float | None  # on average; None for a folder of pictures
    height: int
    width: int


class Video:
    """An opened video; see open_video."""

    path: Path
    info: VideoInfo

    def read(self, indices: ArrayLike | torch.Tensor) -> torch.Tensor:
        """uint8 [*S, H, W, 3] for integer indices of shape S, in any order; each frame is decoded once.

        ValueError for an index outside of 0 … info.frames-1. DamagedVideo where the file has fewer frames
        than it promised; from then on `info.frames` says how many, and these can be read.
        """
        wanted = np.asarray(indices)
        if wanted.size and wanted.dtype.kind not in "iu":
            raise ValueError(f"{self.path}: frame indices are integers, not {wanted.dtype}")
        numbers, rows = np.unique(wanted.astype(np.int64), return_inverse=True)
        for number in numbers[(numbers < 0) | (numbers >= self.info.frames)]:
            raise ValueError(f"{self.path}: no frame {number}, there are {self.info.frames}")
        frames = np.empty((len(numbers), self.info.height, self.info.width, 3), np.uint8)
        self._decode(numbers.tolist(), frames)
        if not np.array_equal(numbers, wanted.reshape(-1)):
            frames = frames[rows.reshape(-1)]
        return torch.from_numpy(frames.reshape(*wanted.shape, *frames.shape[1:]))

    def verify(self) -> VideoInfo:
        """Decodes everything: from now on `info.frames` counts what is really there."""
        for number in range(self.info.frames):
            self.read(number)
        return self.info

    def close(self) -> None:
        """Frees what is held open; nothing can be read any more."""

    def _decode(self, numbers: Sequence[int], out: NDArray[np.uint8]) -> None:
        """Frames of distinct, ascending numbers into out [T, H, W, 3]; each kind of video has its own way."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def open_video(path: str | Path) -> Video:
    """A video file, or a folder of frame pictures. VideoError if it is neither, or has no frames."""
    if not (path := Path(path)).exists():
        raise VideoError(path, "no such file or folder")
    return PictureFolder(path) if path.is_dir() else VideoFile(path)


def probe(path: str | Path, *, decode: bool = False) -> VideoInfo:
    """What the video says of itself; with `decode`, what decoding all of it finds."""
    with open_video(path) as video:
        return video.verify() if decode else video.info


def read_frames(path: str | Path, indices: ArrayLike | torch.Tensor) -> torch.Tensor:
    """uint8 [*S, H, W, 3] for indices of shape S; see Video.read."""
    with open_video(path) as video:
        return video.read(indices)


class VideoFile(Video):
    """Its packets, a decoder, and, where the packets tell it, their index."""

    def __init__(self, path: Path) -> None:
        import av

        self.path = path
        with _named(path):  # after "file:" a colon in a name is no protocol
            self._container = av.open(f"file:{path}")
        videos = [s for s in self._container.streams.video if not s.disposition & s.disposition.attached_pic]
        if not videos or videos[0].codec_context is None:
            raise VideoError(path, "no video stream that can be decoded" if videos else "no video stream")
        stream, self._codec = videos[0], videos[0].codec_context
        self._codec.thread_count = 1  # decoding runs in the workers of a loader: they are the threads
        self._packets: list[av.Packet] = []
        with suppress(VideoError), _named(path):  # a file cut short is as long as what is left of it
            self._packets.extend(packet for packet in self._container.demux(stream) if packet.size)
        self._index = _Index.of(self._packets, self._codec, container=self._container.format.name)
        # Only the first frame knows its size; and where the packets do not tell the frames, all are counted.
        _, first = next(chain(self._from_groups([0]), self._from_start()), (0, None))
        if first is None:
            raise VideoError(path, "no frames")
        fps = float(stream.average_rate) if stream.average_rate else None
        self.info = VideoInfo(len(self._index.order) if self._index else 0, fps, *_picture(first).shape[:2])
        if not self._index:
            self.verify()

    def verify(self) -> VideoInfo:
        frames = sum(1 for _ in self._from_start())
        if frames != self.info.frames:
            self._index = None  # it tells of frames that are not there
        self.info = replace(self.info, frames=frames)
        return self.info

    def close(self) -> None:
        self._packets = []
        self._container.close()

    def _decode(self, numbers: Sequence[int], out: NDArray[np.uint8]) -> None:
        rows = {number: row for row, number in enumerate(numbers)}
        for number, frame in chain(self._from_groups(numbers), self._from_start()):
            if number in rows:
                _place(frame, out, rows.pop(number), self.path)
            if not rows:
                return
        promised, real = self.info.frames, self.verify().frames
        raise DamagedVideo(self.path, f"only {real} of {promised} frames decode", real)

    def _from_groups(self, numbers: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames of these numbers, each decoded from the key picture of its group."""
        if (index := self._index) is None or not numbers:
            return
        frames = {index.order[number]: number for number in numbers}  # packet → frame
        for packets in index.runs(frames):
            wanted = {index.times[at]: frames[at] for at in packets if at in frames}
            # Key flags lie: until the key picture has proved to be one, nothing counts that comes out.
            entered = packets[0] == 0 or self._packets[packets[0]].is_discard
            for frame in self._frames(packets, asked=frames if index.skips else packets):
                entered = entered or (frame.pts == index.times[packets[0]] and frame.key_frame)
                if entered and frame.pts in wanted:
                    yield wanted[frame.pts], frame
        self._index = None  # whoever asks on has missed a frame

    def _from_start(self) -> Iterator[tuple[int, av.VideoFrame]]:
        return enumerate(self._frames(every := range(len(self._packets)), asked=every))

    def _frames(self, packets: range, *, asked: Container[int]) -> Iterator[av.VideoFrame]:
        """Frames of these packets, up to the first damage; what is not asked for may be left out."""
        self._codec.flush_buffers()
        with suppress(VideoError), _named(self.path):
            for at in packets:
                self._codec.skip_frame = "DEFAULT" if at in asked else "NONREF"
                yield from self._codec.decode(self._packets[at])
            yield from self._codec.decode(None)


@dataclass(frozen=True)
class _Index:
    """What packets tell without decoding. Packets are numbered as stored, frames as shown."""

    times: list[int]  # packet → its time, which its frame keeps through the decoder
    order: list[int]  # frame → packet
    start: list[int]  # packet → the key packet from which decoding reaches it
    skips: bool  # whether the decoder may leave out what is unreferenced

    @classmethod
    def of(cls, packets: list[av.Packet], codec: av.VideoCodecContext, *, container: str) -> Self | None:
        """None where the packets do not say for certain which frames there are, and in which order."""
        name = codec.name
        times = [packet.pts for packet in packets if packet.pts is not None]
        shown = [at for at, packet in enumerate(packets) if not packet.is_discard]  # by the file's edit list
        if name not in SKIPS_EXACTLY or codec.field_order > 1 or not shown or len(times) < len(packets):
            return None  # field_order: an interlaced frame may be split over two packets
        if not packets[0].is_keyframe or min(times) < times[0]:
            return None  # the first frames refer to what was cut off before them
        # A coded MPEG-4 picture spends at least a bit a macroblock; a smaller packet shows nothing new.
        macroblocks = -(-codec.width // 16) * -(-codec.height // 16)
        if name == "mpeg4" and 8 * min(packet.size for packet in packets) < macroblocks:
            return None
        as_stored = not codec.has_b_frames and times == [packet.dts for packet in packets]
        if not (as_stored or container in STORES_TIMES) or len({times[at] for at in shown}) < len(shown):
            return None
        start, before, key = [], 0, 0
        for at, packet in enumerate(packets):
            before, key = (key, at) if packet.is_keyframe else (before, key)
            # What is shown before its key picture may refer to the group before.
            start.append(before if times[at] < times[key] else key)
        return cls(times, sorted(shown, key=times.__getitem__), start, SKIPS_EXACTLY[name])

    def runs(self, packets: Iterable[int]) -> list[range]:
        """The packets to decode for these; what overlaps is one run, so that nothing decodes twice."""
        runs: list[range] = []
        for start, at in sorted((self.start[at], at) for at in packets):
            if runs and start in runs[-1]:
                start, at = runs[-1].start, max(runs.pop()[-1], at)
            runs.append(range(start, at + 1))
        return runs


class PictureFolder(Video):
    """A folder of frame pictures, in the natural order of their names: img_2 before img_10."""

    def __init__(self, path: Path) -> None:
        self.path = path
        files = [file for file in path.iterdir() if file.suffix.lower() in PICTURE_SUFFIXES]
        if not files:
            raise VideoError(path, f"a folder without pictures ({', '.join(PICTURE_SUFFIXES)})")
        self._files = sorted(files, key=lambda file: re.sub("[0-9]+", lambda n: n[0].zfill(20), file.name))
        self.info = VideoInfo(len(files), None, *_picture(_decode_picture(self._files[0])).shape[:2])

    def _decode(self, numbers: Sequence[int], out: NDArray[np.uint8]) -> None:
        for row, number in enumerate(numbers):
            _place(_decode_picture(self._files[number]), out, row, self._files[number])


def _decode_picture(file: Path) -> av.VideoFrame:
    import av

    with _named(file):
        data = file.read_bytes()
        if (name := PICTURE_CODECS.get(data[:2])) is None:
            raise VideoError(file, "not a picture")
        codec = cast("av.VideoCodecContext", av.CodecContext.create(name, "r"))
        for frame in (*codec.decode(av.Packet(data)), *codec.decode(None)):
            return frame
    raise VideoError(file, "no picture decodes")


def _picture(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """RGB [H, W, 3], upright."""
    rgb = cast("NDArray[np.uint8]", frame.to_ndarray(format="rgb24", threads=1))
    return np.rot90(rgb, round(frame.rotation / 90))  # both turn counterclockwise


def _place(frame: av.VideoFrame, out: NDArray[np.uint8], row: int, path: Path) -> None:
    picture = _picture(frame)
    if picture.shape != out.shape[1:]:
        raise VideoError(path, f"a frame of {picture.shape[:2]} pixels, but the first has {out.shape[1:3]}")
    out[row] = picture


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of FFmpeg and of the disk, under the name of the file."""
    from av.error import FFmpegError

    try:
        yield
    except (FFmpegError, OSError) as error:
        raise VideoError(path, error.strerror or type(error).__name__) from error
    except UnicodeDecodeError as error:
        raise VideoError(path, "metadata that is not UTF-8, which needs PyAV 19") from error

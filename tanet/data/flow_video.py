"""Videos of optical flow: stored in a folder of pictures, or computed from the frames of a video.

    flow i = motion from frame i to frame i + 1, x and y as bytes (optical_flow.py)           uint8 [H, W, 2]

A folder has two grey pictures per flow, whose names differ in x and y (or u and v), as in the flow of TSN,
TSM and mmaction2:

    flow_x_00001.jpg, flow_y_00001.jpg        x_00001.jpg, y_00001.jpg        000007-x_00001.jpg, …-y_…

Or it has one colour picture per flow, red x, green y, blue constant, as in TRN's flow: 000001.jpg. Frames
beside the flow are ignored. A folder of any other pictures is a video, whose flow is computed.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tanet.data.optical_flow import Method, flow_between, flow_to_bytes
from tanet.video import Video, VideoError, VideoInfo
from tanet.video.base import translate_errors
from tanet.video.frame_folder import decode_picture, is_picture, natural_key
from tanet.video.frame_to_rgb import to_grey, to_rgb

AXIS = re.compile(r"(?:(?<![a-z])|(?<=flow))[xyuv](?![a-z])")
"""Letter in the name of a picture that tells the axis of its displacements."""
AGAIN = "remove the folder and run tanet data flow again"
AXES = {"x": 0, "u": 0, "y": 1, "v": 1}
NO_MOTION, NEAR = 128, 24
"""NO_MOTION is the value of zero displacement; NEAR is the tolerance for the median of a picture of flow."""


class FlowVideo(Video):
    """A video whose `read` returns optical flow, uint8 [*S, H, W, 2], in the place of RGB frames."""

    channels = 2

    @property
    def info(self) -> VideoInfo:
        """Number of flows, frame rate and size. If the size is not known yet, one flow is read."""
        for _, flow in self._pixels([0]) if self._size is None else ():
            self._size = (flow.shape[0], flow.shape[1])
        assert self._size is not None
        return VideoInfo(self.frames, self.fps, *self._size)

    def _same_size(self, flow: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        """Return the flow. Raise VideoError if it has another size than the flow before."""
        self._size = self._size or (flow.shape[0], flow.shape[1])
        if flow.shape[:2] != self._size:
            raise VideoError(self.path, f"{name} has another size than the pictures before it")
        return flow


class StoredFlow(FlowVideo):
    """Flow that is stored as pictures. Subclasses say where the pictures are.

    Args:
        path: path for messages.
        frames: number of flows.
    """

    def __init__(self, path: Path, frames: int) -> None:
        self.path, self.frames = path, frames

    def _pictures(self, number: int) -> list[tuple[str, Path | bytes]]:
        """Return name and file (or content) of each picture of a flow: x and y, or one for both."""
        raise NotImplementedError

    def _pixels(self, numbers: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        for number in numbers:
            pictures = self._pictures(number)
            yield number, self._same_size(_flow_of(self.path, pictures), pictures[0][0])


class FlowFolder(StoredFlow):
    """Folder of pictures of flow.

    Args:
        path: the folder.
        flows: files of each flow: x and y, or one of both.
    """

    def __init__(self, path: Path, flows: Sequence[tuple[Path, ...]]) -> None:
        super().__init__(path, len(flows))
        self.files = tuple(flows)

    def _pictures(self, number: int) -> list[tuple[str, Path | bytes]]:
        return [(file.name, file) for file in self.files[number]]


class ComputedFlow(FlowVideo):
    """Flow that is computed from the frames of a video while it is read.

    Args:
        video: the video. `close` closes it.
        method: method of the computation.
        size: width and height to which frames are resized first, in pixels; (0, 0) keeps their size.

    Raises:
        VideoError: the video has only one frame.
    """

    def __init__(self, video: Video, *, method: Method, size: tuple[int, int]) -> None:
        if video.frames < 2:
            raise VideoError(video.path, "one frame: flow needs two")
        self.video, self.size = video, size
        self.method: Method = method
        self.path, self.frames, self.fps = video.path, video.frames - 1, video.fps

    def _pixels(self, numbers: Sequence[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        for number, flow in flow_between(self.video, numbers, method=self.method, size=self.size):
            yield number, flow_to_bytes(flow)
        self.notes = self.video.notes

    def times(self) -> np.ndarray:
        """Return when the first frame of each flow is displayed; see `Video.times`."""
        return self.video.times()[: self.frames]

    def close(self) -> None:
        """Close the video."""
        self.video.close()


def find_flow(folder: Path) -> list[tuple[Path, ...]]:
    """Return the files of each flow in a folder: x and y, or one of both. Return [] if there is no flow.

    Raises:
        VideoError: the folder cannot be read, has several series of flow, or lacks a picture.
    """
    with translate_errors(folder):
        files = sorted((f for f in folder.iterdir() if is_picture(f)), key=lambda f: natural_key(f.name))
    series: dict[str, tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
    colour: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        name = re.sub("[0-9]+", "#", file.name.lower())
        if axis := AXIS.search(name):
            series[f"{name[: axis.start()]}?{name[axis.end() :]}"][AXES[axis[0]]].append(file)
        else:
            colour[name].append(file)
    both = {name: (x, y) for name, (x, y) in series.items() if x and y}
    if len(both) > 1:
        first, second, *_ = (x[0].name for x, _ in both.values())
        raise VideoError(folder, f"several series of flow, of {first} and {second}")
    for x, y in both.values():
        return _paired(folder, x, y)
    for x, y in series.values():  # v_jump_0001.jpg: a letter, but not of an axis
        colour[re.sub("[0-9]+", "#", (x or y)[0].name.lower())] += x or y
    if len(colour) == 1 and _holds_flow(files[0]):
        return [(file,) for file in _without_gaps(folder, files)]
    return []


def holds_only_flow(folder: Path) -> bool:
    """Return whether a folder has pictures of optical flow and no others.

    Raises:
        VideoError: as `find_flow`.
    """
    flows = find_flow(folder)
    return bool(flows) and sum(map(len, flows)) == sum(map(is_picture, folder.iterdir()))


def _paired(folder: Path, x: list[Path], y: list[Path]) -> list[tuple[Path, ...]]:
    """Pair the pictures of x and y by their names."""
    found = [{AXIS.sub("?", file.name.lower(), count=1): file for file in files} for files in (x, y)]
    for name in found[0].keys() ^ found[1].keys():
        there = found[0].get(name) or found[1][name]
        raise VideoError(folder, f"{there.name} has no picture of the other axis: {AGAIN}")
    _without_gaps(folder, x)
    return [(file, found[1][name]) for name, file in found[0].items()]


def _without_gaps(folder: Path, files: list[Path]) -> list[Path]:
    """Return the files. Raise VideoError if a number is missing: later flows would get wrong places."""
    numbers = [int(digits[-1]) for file in files if (digits := re.findall("[0-9]+", file.stem))]
    steps = [after - before for before, after in pairwise(numbers)]
    for number, step in zip(numbers, steps, strict=False):
        if step != min(steps):
            raise VideoError(folder, f"flow {number + min(steps)} is missing: {AGAIN}")
    return files


def _holds_flow(file: Path) -> bool:
    """Return whether a colour picture shows flow: blue is constant, most of red and green show no motion."""
    pixels = to_rgb(decode_picture(file))
    medians = (float(np.median(pixels[..., channel])) for channel in (0, 1))
    return int(np.ptp(pixels[..., 2])) < NEAR and all(abs(value - NO_MOTION) < NEAR for value in medians)


def _flow_of(path: Path, pictures: Sequence[tuple[str, Path | bytes]]) -> NDArray[np.uint8]:
    """Decode the pictures of a flow: uint8 [H, W, 2]."""
    decoded = [decode_picture(source) for _, source in pictures]
    if len(decoded) == 1:
        return to_rgb(decoded[0])[..., :2]
    x, y = (to_grey(frame) for frame in decoded)
    if x.shape != y.shape:
        raise VideoError(path, f"{pictures[0][0]} and {pictures[1][0]} have different sizes")
    return np.stack((x, y), -1)

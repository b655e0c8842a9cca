"""Files with boxes of the regions of videos.

    {"videos/jump/1.mp4": {"size": [320, 240], "frames": {"0": [[10, 20, 110, 220]]}}}

Boxes are x1, y1, x2, y2 in pixels of a frame of `size` (width, height; by default, the video's own). The
annotations of Something-Else are read, too: for each video a list of frames, `name` "1234/0001.jpg" and
`labels` with `box2d`. A video is named by its path, by the end of its path, or by its file name without
ending.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch

from tanet.data.samples import Sample
from tanet.errors import UserError
from tanet.video.excerpt import split_part

FORM = '{"size": [width, height], "frames": {"0": [[x1, y1, x2, y2]]}}'


@dataclass(frozen=True)
class VideoBoxes:
    """Boxes of the frames of a video that have any, in pixels."""

    frames: np.ndarray
    """Numbers of these frames, ascending: int64 [F]."""
    boxes: torch.Tensor
    """float32 [F, R, 4]."""
    size: tuple[float, float] | None
    """Width and height that the pixels are counted in; None for those of the video."""

    def at(self, indices: np.ndarray, *, height: int, width: int) -> torch.Tensor:
        """Return the boxes of frames, as fractions of the frame: [T] → [T, R, 4].

        A frame gets the boxes of the nearest frame that has any.

        Args:
            indices: numbers of the frames.
            height: height of the video, in pixels.
            width: width of the video, in pixels.
        """
        nearest = np.abs(self.frames[None] - np.asarray(indices)[:, None]).argmin(1)
        across, down = self.size or (width, height)
        return self.boxes[torch.from_numpy(nearest)] / torch.tensor([across, down, across, down])


class BoxFile:
    """Boxes of videos, by name.

    Args:
        path: the file, for messages.
        videos: content of the file.

    Raises:
        UserError: an entry has another form, or there are no boxes.
    """

    def __init__(self, path: str, videos: dict[str, Any]) -> None:
        self.path = path
        self.videos = {name: _read(f"{path}: {name}", video) for name, video in videos.items()}
        counts = (len(boxes) for _, frames in self.videos.values() for boxes in frames.values())
        self.most = max(counts, default=0)
        """R, largest number of boxes of a frame."""
        if not self.most:
            raise UserError(f"{path}: there are no boxes in this file")

    def find(self, video: str) -> VideoBoxes | None:
        """Return the boxes of a video; None if the file has none."""
        video = str(split_part(video)[0])
        parts = PurePath(video).parts
        names = ["/".join(parts[start:]) for start in range(len(parts))] + [PurePath(video).stem]
        name = next((one for one in (video, *names) if one in self.videos), None)
        if name is None:
            return None
        size, frames = self.videos[name]
        numbers = sorted(frames)
        boxes = torch.zeros(len(numbers), self.most, 4)
        for place, number in enumerate(numbers):
            boxes[place, : len(frames[number])] = torch.tensor(frames[number], dtype=torch.float32)
        return VideoBoxes(np.array(numbers), boxes, size) if numbers else None

    def check(self, samples: Sequence[Sample]) -> None:
        """Raise UserError if the file has boxes for none of these videos."""
        if samples and not any(self.find(sample.path) for sample in samples):
            raise UserError(
                f"{self.path}: boxes for none of the {len(samples)} videos; it names videos such as "
                f"{next(iter(self.videos))}, and the first video is {samples[0].path}"
            )


def _read(where: str, video: Any) -> tuple[tuple[float, float] | None, dict[int, list[Any]]]:
    """Return the size and the boxes by frame of an entry; raise UserError if it has another form."""
    try:
        size, frames = (None, _annotations(video)) if isinstance(video, list) else _entry(video)
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(f"{where}: not an entry of the form {FORM}") from error
    if size and not all(math.isfinite(side) and side > 0 for side in size):
        raise UserError(f"{where}: size is {size[0]:g} × {size[1]:g}, but must be [width, height] in pixels")
    for number, boxes in frames.items():
        if not 0 <= number < 2**62:
            raise UserError(f"{where}: {number} is not a frame: frames count from 0")
        if problem := _problem(boxes):
            raise UserError(f"{where}, frame {number}: {problem}")
    return size, frames


def _annotations(video: list[Any]) -> dict[int, list[Any]]:
    """Return boxes by frame from annotations of Something-Else, whose frames count from 1."""
    frames: dict[int, list[Any]] = {}
    for frame in video:
        corners = [[label["box2d"][key] for key in ("x1", "y1", "x2", "y2")] for label in frame["labels"]]
        if corners:
            frames[int(PurePath(frame["name"]).stem) - 1] = corners
    return frames


def _entry(video: dict[str, Any]) -> tuple[tuple[float, float] | None, dict[int, list[Any]]]:
    """Return the size and the boxes by frame of an entry of the form FORM."""
    frames = {int(number): list(boxes) for number, boxes in video["frames"].items() if boxes}
    if video.get("size") is None:
        return None, frames
    width, height = video["size"]
    if isinstance(width, str) or isinstance(height, str):
        raise TypeError(f"{width} and {height} are not numbers")
    return (float(width), float(height)), frames


def _problem(boxes: list[Any]) -> str | None:
    """Return what is wrong with the boxes of a frame; None if nothing is."""
    for box in boxes:
        numbers = isinstance(box, list | tuple) and all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in box
        )
        if not numbers or len(box) != 4:
            return f"boxes are four numbers each, not {str(box)[:60]}"
        if not all(map(math.isfinite, box)):
            return f"boxes must be finite numbers, not {box}"
        if box[2] < box[0] or box[3] < box[1]:
            return f"boxes are x1, y1, x2, y2 with x1 ≤ x2 and y1 ≤ y2, not {box}"
    return None


@lru_cache(maxsize=4)
def read_boxes(path: str) -> BoxFile:
    """Read a file of boxes.

    Raises:
        UserError: there is no such file, or it has another form.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"{path}: there is no such file of boxes: give --data.boxes FILE (tanet predict: --boxes FILE)"
        ) from error
    except OSError as error:
        raise UserError(f"{path}: the file of boxes cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a file of boxes in JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: a file of boxes has an entry for each video; this one is a {type(content).__name__}"
        )
    return BoxFile(path, content)

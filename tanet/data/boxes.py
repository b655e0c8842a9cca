"""Boxes of regions in videos, from a file, cropped and mirrored with the frames of a clip.

    {"videos/jump/1.mp4": {"size": [320, 240], "frames": {"0": [[10, 20, 110, 220]]}}}

Boxes are x1, y1, x2, y2 in pixels of a frame of `size` (width, height; by default, the video's own). The
annotations of Something-Else are read, too: for each video a list of frames, `name` "1234/0001.jpg" and
`labels` with `box2d`. A video is named by its path, by the end of its path, or by its file name without
ending.

In memory, a box is x1, y1, x2, y2 as fractions of the width and the height of what the network sees. Frames
are padded to the same number of boxes with boxes of zero area.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch

from tanet.data import transforms
from tanet.data.samples import Sample
from tanet.data.transforms import Box, CropSpec
from tanet.errors import UserError
from tanet.recipes.recipe import Eval


@dataclass(frozen=True)
class VideoBoxes:
    """Boxes of the frames of a video that have any, in pixels."""

    frames: np.ndarray
    """Numbers of these frames, ascending: int64 [F]."""
    boxes: torch.Tensor
    """float32 [F, R, 4]."""
    size: tuple[int, int] | None
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
        UserError: the file has another structure.
    """

    def __init__(self, path: str, videos: dict[str, Any]) -> None:
        self.path, self.videos = path, videos
        try:
            counts = [len(boxes) for name in videos for boxes in _frames_of(videos[name])[1].values()]
            self.most = max(counts, default=0)
        except (TypeError, KeyError, ValueError, AttributeError, IndexError) as error:
            raise UserError(f"{path}: not a file of boxes: {type(error).__name__} {error}") from error
        if not self.most:
            raise UserError(f"{path}: there are no boxes in this file")

    def find(self, video: str) -> VideoBoxes | None:
        """Return the boxes of a video; None if the file has none.

        Raises:
            UserError: the video's entry has boxes of another form.
        """
        parts = PurePath(video).parts
        names = ["/".join(parts[start:]) for start in range(len(parts))] + [PurePath(video).stem]
        name = next((one for one in (video, *names) if one in self.videos), None)
        if name is None:
            return None
        size, frames = _frames_of(self.videos[name])
        numbers = sorted(frames)
        boxes = torch.zeros(len(numbers), self.most, 4)
        for place, number in enumerate(numbers):
            if frames[number]:
                try:
                    found = torch.tensor(frames[number], dtype=torch.float32).reshape(-1, 4)
                except (TypeError, ValueError, RuntimeError) as error:
                    raise UserError(
                        f"{self.path}: {name}, frame {number}: boxes are four numbers each"
                    ) from error
                boxes[place, : len(found)] = found
        return VideoBoxes(np.array(numbers), boxes, size) if numbers else None

    def check(self, samples: Sequence[Sample]) -> None:
        """Raise UserError if the file has boxes for none of these videos."""
        if samples and not any(self.find(sample.path) for sample in samples):
            raise UserError(
                f"{self.path}: boxes for none of the {len(samples)} videos; it names videos such as "
                f"{next(iter(self.videos))}, and the first video is {samples[0].path}"
            )


def _frames_of(video: Any) -> tuple[tuple[int, int] | None, dict[int, list[Any]]]:
    """Return the size and the boxes by frame of an entry, in either of the two formats."""
    if isinstance(video, list):  # Something-Else: frames are counted from 1
        frames: dict[int, list[Any]] = {}
        for frame in video:
            corners = [[label["box2d"][key] for key in ("x1", "y1", "x2", "y2")] for label in frame["labels"]]
            if corners:
                frames[int(PurePath(frame["name"]).stem) - 1] = corners
        return None, frames
    size = video.get("size")
    found = {int(number): list(boxes) for number, boxes in video["frames"].items() if boxes}
    return (int(size[0]), int(size[1])) if size else None, found


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
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a file of boxes in JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(
            f"{path}: a file of boxes has an entry for each video; this one is a {type(content).__name__}"
        )
    return BoxFile(path, content)


def boxes_of_frames(
    found: VideoBoxes | None, indices: np.ndarray, *, height: int, width: int, most: int
) -> torch.Tensor:
    """Return the boxes of every second frame of clips, as fractions of the frame: [V, T] → [V, ⌈T/2⌉, R, 4].

    Args:
        found: the boxes of the video; None for none.
        indices: numbers of the frames of the clips.
        height: height of the video, in pixels.
        width: width of the video, in pixels.
        most: R, number of boxes of a frame.
    """
    seen = indices[:, ::2]
    if found is None:
        return torch.zeros(*seen.shape, most, 4)
    flat = found.at(seen.reshape(-1), height=height, width=width)
    return flat.unflatten(0, seen.shape)


def crop_boxes(
    boxes: torch.Tensor, *, height: int, width: int, box: Box, mirrored: bool = False
) -> torch.Tensor:
    """Return boxes as fractions of a crop: [..., 4] → [..., 4]. What is outside is cut off.

    Args:
        boxes: boxes as fractions of the frame.
        height: height of the frame that is cropped, in pixels.
        width: its width, in pixels.
        box: the crop.
        mirrored: whether the crop is mirrored.
    """
    pixels = boxes * torch.tensor([width, height, width, height])
    start = torch.tensor([box.left, box.top, box.left, box.top])
    cut = ((pixels - start) / torch.tensor([box.width, box.height, box.width, box.height])).clamp(0, 1)
    if mirrored:
        x1, y1, x2, y2 = cut.unbind(-1)
        cut = torch.stack((1 - x2, y1, 1 - x1, y2), -1)
    return cut


def train_boxes(boxes: torch.Tensor, cut: CropSpec) -> torch.Tensor:
    """Convert boxes from fractions of the frame to fractions of the training crop: [T, R, 4] → [T, R, 4]."""
    return crop_boxes(boxes, height=cut.height, width=cut.width, box=cut.box, mirrored=cut.mirrored)


def view_boxes(boxes: torch.Tensor, *, height: int, width: int, eval: Eval) -> torch.Tensor:
    """Return the boxes of test views, as `eval_views` cuts them: [V, T, R, 4] → [V·crops, T, R, 4].

    Args:
        boxes: boxes as fractions of the frames.
        height: height of the video, in pixels.
        width: its width, in pixels.
        eval: number, size and style of the crops.
    """
    if eval.resize_width:
        height, width = eval.resize, eval.resize_width
    else:
        height, width = transforms.size_for_short_side(height, width, eval.resize, style=eval.style)
    crops = transforms.eval_boxes(height, width, size=eval.size, crops=eval.crops, style=eval.style)
    parts = [
        crop_boxes(boxes, height=height, width=width, box=box, mirrored=mirrored)
        for box in crops
        for mirrored in ((False, True) if eval.crops == 10 else (False,))
    ]
    return torch.stack(parts, 1).flatten(0, 1)

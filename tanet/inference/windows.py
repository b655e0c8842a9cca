"""Windows over a long video, read in one pass: each frame is decoded, resized and cropped once.

    window i, in frames     [i · stride, i · stride + length)
    window i, in seconds    from i · stride to i · stride + length, by the times of the frames

T frames are spread over each window, as in training. If a video is shorter than a window, its last frame is
repeated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from tanet.data import frame_sampling
from tanet.data.views import cut_views
from tanet.errors import UserError
from tanet.recipes.recipe import Eval, Recipe
from tanet.runtime.device import return_freed_memory
from tanet.video import DamagedVideo, Video

BLOCK = 16
"""Number of frames that are resized at once."""
LONGEST = 1e7
"""Largest length of a window, in frames or seconds."""
SECONDS = 2.0
"""Length of a window if the network was trained on whole videos, which have no length of their own."""


@dataclass(frozen=True)
class Span:
    """A length of time: a number of frames, or seconds."""

    value: float
    unit: str = "frames"

    @classmethod
    def parse(cls, text: str) -> Span:
        """Parse 16 or 16f (frames), 2s or 0.5s (seconds).

        Raises:
            UserError: the text is something else, or not positive.
        """
        match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(f|s|)", text.strip())
        value = float(match[1]) if match else 0.0
        if not match or not 0 < value <= LONGEST or (match[2] != "s" and value % 1):
            raise UserError(f"'{text}' is no length: give a number of frames (16) or seconds (2s)")
        return cls(value, "seconds" if match[2] == "s" else "frames")

    def seconds(self, fps: float) -> float:
        """Return the length in seconds."""
        return self.value if self.unit == "seconds" else self.value / fps

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}"


@dataclass(frozen=True)
class Windows:
    """N windows over a video, each with T frames."""

    indices: np.ndarray
    """Frames of each window, int64 [N, T]."""
    starts: np.ndarray
    """Start of each window, in seconds after the first frame, float64 [N]."""
    centres: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)


def default_window(recipe: Recipe) -> Span:
    """Return the window that a network was trained on; `SECONDS` if it was trained on whole videos."""
    data = recipe.data
    if data.sampling == "uniform":
        return Span(SECONDS, "seconds")
    return Span(data.window / 30, "seconds") if data.rate == "30fps" else Span(data.window)


def windows_of(video: Video, recipe: Recipe, *, window: Span, stride: Span, to_end: bool = False) -> Windows:
    """Place windows over a video.

    Args:
        video: an opened video.
        recipe: recipe of the network. The function uses `model.frames` and `data.sampling`.
        window: length of a window.
        stride: distance between the starts of two windows.
        to_end: whether one more window is placed at the end if the others leave frames uncovered.
    """
    frames, sampling = recipe.model.frames, recipe.data.sampling
    times, fps = video.times(), video.fps or 30.0
    count = len(times)
    step = (times[-1] - times[0]) / (count - 1) if count > 1 else 1 / fps
    edges = np.append(times, times[-1] + step)  # start of each frame, and the end
    if window.unit == stride.unit == "frames":
        length, hop = int(window.value), int(stride.value)
        starts = hop * np.arange(max(1, (count - length) // hop + 1))
        if to_end and starts[-1] + length < count:
            starts = np.append(starts, count - length)
        inside = frame_sampling.middle_indices(length, frames=frames, sampling=sampling, window=length)
        indices = np.minimum(starts[:, None] + inside, count - 1)
        places = (starts, starts + length / 2, starts + length)
        spans = [np.interp(place, np.arange(count + 1), edges) for place in places]
        return Windows(indices, *spans)
    length, hop = window.seconds(fps), stride.seconds(fps)
    if min(length, hop) < step / 2:
        raise UserError(f"windows of {length:g} s each {hop:g} s are shorter than a frame of {step:g} s")
    total = float(edges[-1])
    starts = hop * np.arange(max(1, int((total - length) / hop + 1e-9) + 1))
    if to_end and starts[-1] + length < total - step / 2:
        starts = np.append(starts, total - length)
    inside = (np.arange(frames) + (0.5 if sampling == "uniform" else 0.0)) * (length / frames)
    wanted = starts[:, None] + inside + 1e-6
    indices = np.clip(np.searchsorted(times, wanted, side="right") - 1, 0, count - 1)
    spans = [np.minimum(place, total) for place in (starts, starts + length / 2, starts + length)]
    return Windows(indices.astype(np.int64), *spans)


def read_windows(
    video: Video, windows: Windows, recipe: Recipe, *, eval: Eval, batch: int
) -> Iterator[torch.Tensor]:
    """Read the views of all windows in one pass, with memory for the frames of a few windows.

    Args:
        video: an opened video; for a network of optical flow, a `FlowVideo`.
        windows: windows over this video.
        recipe: recipe of the network. The function uses `model`.
        eval: the function uses `crops`, `resize`, `resize_width`, `size` and `style`.
        batch: number of windows to yield at once.

    Yields:
        Views of at most `batch` windows in order, uint8 [n, crops, T, C, S, S].

    Raises:
        DamagedVideo: the video ends early. The windows before have been yielded.
        VideoError: a frame cannot be read.
    """
    return_freed_memory()
    flows, count = recipe.model.flows_per_frame, video.frames
    offsets = np.arange(max(1, flows))
    needed = np.unique(np.minimum(windows.indices[..., None] + offsets, count - 1))
    views = _views(video, needed, eval)
    held: dict[int, torch.Tensor] = {}
    ready: list[torch.Tensor] = []
    for indices in windows.indices:
        pictures = np.minimum(indices[:, None] + offsets, count - 1)  # [T, max(1, flows)]
        for number in [number for number in held if number < pictures.min()]:
            del held[number]
        try:
            while pictures.max() not in held:
                number, view = next(views)
                held[number] = view
        except DamagedVideo:
            if ready:
                yield torch.stack(ready)
            raise
        frames = [torch.cat([held[int(number)] for number in row], 1) for row in pictures]
        ready.append(torch.stack(frames, 1))  # [crops, T, C, S, S]
        if len(ready) == batch:
            yield torch.stack(ready)
            ready = []
    if ready:
        yield torch.stack(ready)


def _views(video: Video, numbers: np.ndarray, eval: Eval) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield the crops of each frame, uint8 [crops, C, S, S], in one pass."""
    pictures, damage = video.iterate(numbers), None
    while damage is None:
        block: list[tuple[int, torch.Tensor]] = []
        try:
            block.extend(islice(pictures, BLOCK))
        except DamagedVideo as error:
            damage = error
        if not block:
            break
        clip = torch.stack([picture for _, picture in block])[None]  # [1, F, H, W, C]
        crops = cut_views(clip, eval)  # [crops, F, C, S, S]
        yield from ((number, crops[:, place]) for place, (number, _) in enumerate(block))
    if damage is not None:
        raise damage

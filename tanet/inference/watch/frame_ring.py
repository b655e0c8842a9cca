"""The newest frames of a stream, resized and cropped, and windows over them.

A window ends at the newest frame. Its T frames are spread over it as in training, by the times of the frames.
If the stream is younger than a window, its first frame fills the places before it.
"""

import time
from collections import deque
from dataclasses import dataclass
from threading import Condition

import numpy as np
import torch

FINE = 8
"""Frames that come faster than FINE for each frame of a clip are thinned out. This bounds the memory."""


@dataclass(frozen=True)
class Frame:
    """One frame of a stream."""

    number: int
    """Number of the frame among all that were decoded, from 0."""
    time: float
    """When it is displayed, in seconds after the first frame."""
    arrival: float
    """When it was decoded, by the clock of `time.monotonic`."""
    view: torch.Tensor
    """Its crops, uint8 [crops, C, S, S]."""


@dataclass(frozen=True)
class Window:
    """T frames that end at the newest one."""

    frames: tuple[Frame, ...]
    newest: Frame
    start: float
    """In seconds after the first frame; after a gap, not before the first frame after it."""
    skipped: int
    """Frames since the last window that are in no window, because the network was busy."""
    piece: int = 0
    """Number of gaps and restarts before the window."""

    @property
    def views(self) -> torch.Tensor:
        """Views of the window, uint8 [crops, T, C, S, S]."""
        return torch.stack([frame.view for frame in self.frames], 1)


class FrameRing:
    """Ring of the newest frames. One thread adds frames, another takes windows.

    Args:
        frames: T, frames per clip.
        seconds: length of a window.
        centred: whether a clip takes the middle of each T-th of a window (uniform sampling), not its start.
    """

    def __init__(self, *, frames: int, seconds: float, centred: bool) -> None:
        self.frames, self.seconds, self.centred = frames, seconds, centred
        self.closed = False
        """Whether no more frames come."""
        self._ring: deque[Frame] = deque(maxlen=FINE * frames + 1)
        self._changed = Condition()
        self._seen = -1  # newest frame of the last window
        self._pieces = 0
        self._step = seconds / (FINE * frames)

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def bytes(self) -> int:
        """Bytes of the frames that are held."""
        with self._changed:
            return sum(frame.view.numel() for frame in self._ring)

    def wants(self, at: float) -> bool:
        """Return whether a frame displayed at this time is kept. If not, it need not be resized."""
        # Times are rounded to a millisecond by some containers.
        return not self._ring or at - self._ring[-1].time > 0.95 * self._step or at < self._ring[-1].time

    def add(self, frame: Frame) -> None:
        """Add a frame."""
        with self._changed:
            self._ring.append(frame)
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget all frames, because the next ones do not follow them."""
        with self._changed:
            self._ring.clear()
            self._pieces += 1

    def close(self) -> None:
        """Tell that no more frames come."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def newest(self) -> Window | None:
        """Return the window that ends at the newest frame; None if there is no frame that is new."""
        with self._changed:
            if not self._ring or self._ring[-1].number == self._seen:
                return None
            return self._window(tuple(self._ring))

    def wait(self, seconds: float) -> Window | None:
        """Return the newest window; wait up to this time for a new frame."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not self._ring or self._ring[-1].number == self._seen:
                left = deadline - time.monotonic()
                if self.closed or left <= 0 or not self._changed.wait(left):
                    return None
            return self._window(tuple(self._ring))

    def _window(self, held: tuple[Frame, ...]) -> Window:
        times = np.array([frame.time for frame in held])
        step = self.seconds / self.frames
        between = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else step
        start = times[-1] + min(between, step) - self.seconds
        wanted = start + (np.arange(self.frames) + (0.5 if self.centred else 0.0)) * step + 1e-6
        places = np.clip(np.searchsorted(times, wanted, side="right") - 1, 0, len(times) - 1)
        first = int(np.searchsorted(times, start - 1e-6))
        skipped = max(0, held[first].number - self._seen - 1)
        self._seen = held[-1].number
        frames = tuple(held[place] for place in places)
        return Window(frames, held[-1], max(float(start), float(times[0])), skipped, self._pieces)

"""Choose the T frames of a clip from a video of n frames. Frame numbers count from 0.

- Dense sampling (for Kinetics, "64 consecutive frames") takes every (64 // T)-th frame of a window of 64
  frames. Frame numbers past the end of the video wrap around to its start.
- Uniform sampling (TSN; Wang et al., ECCV 2016) divides the video into T segments of n/T frames, and takes
  one frame from each segment.

Both kinds of sampling choose exactly the same frames as the code behind the published results.
"""

from typing import Literal

import numpy as np

from tanet.errors import UserError

Sampling = Literal["dense", "uniform"]


def train_indices(
    n: int, *, frames: int, sampling: Sampling, generator: np.random.Generator, window: int = 64
) -> np.ndarray:
    """Draw the frames of a random training clip from a video of n frames. Return int64 [T]."""
    _check(n, frames=frames, clips=1)
    if sampling == "dense":
        starts = _dense_starts(n, window=window)
        # Never draw the last possible start of the window, because the published code never draws it.
        start = 0 if starts == 1 else int(generator.integers(starts - 1))
        return _dense(start, n, frames=frames, window=window)
    segment = n // frames
    if segment == 0:
        return np.zeros(frames, np.int64)
    return np.arange(frames) * segment + generator.integers(segment, size=frames)


def middle_indices(n: int, *, frames: int, sampling: Sampling, window: int = 64) -> np.ndarray:
    """Return the frame numbers of the middle clip of a video of n frames, as int64 [T]."""
    _check(n, frames=frames, clips=1)
    if sampling == "dense":
        return _dense(_dense_starts(n, window=window) // 2, n, frames=frames, window=window)
    tick = n / frames
    return (tick / 2 + tick * np.arange(frames)).astype(np.int64)


def eval_indices(n: int, *, frames: int, clips: int, sampling: Sampling, window: int = 64) -> np.ndarray:
    """Return the frame numbers of V = `clips` clips, spread evenly over a video of n frames, as int64 [V, T].

    If `clips` is 1, the function returns the middle clip.
    """
    _check(n, frames=frames, clips=clips)
    if clips == 1:
        return middle_indices(n, frames=frames, sampling=sampling, window=window)[None]
    if sampling == "dense":
        starts = np.linspace(0, _dense_starts(n, window=window) - 1, clips).astype(np.int64)
        return _dense(starts[:, None], n, frames=frames, window=window)
    tick = n / frames
    starts = np.linspace(0, tick - 1, clips).astype(np.int64)
    return (starts[:, None] + tick * np.arange(frames)).astype(np.int64) % n


def _dense_starts(n: int, *, window: int) -> int:
    return max(1, 1 + n - window)


def _dense(start: int | np.ndarray, n: int, *, frames: int, window: int) -> np.ndarray:
    if frames > window:
        raise UserError(f"{frames} frames do not fit into a window of {window}: increase --data.window")
    return (start + np.arange(frames) * (window // frames)) % n


def _check(n: int, *, frames: int, clips: int) -> None:
    if min(n, frames, clips) < 1:
        raise UserError(
            f"the number of frames in the video ({n}), frames in a clip ({frames}) and clips ({clips}) must "
            "be at least 1"
        )

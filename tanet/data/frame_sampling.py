"""Selection of the T frames of a clip from a video of n frames, as frame numbers from 0.

dense (Kinetics, "64 consecutive frames"): every (64 // T)-th frame of a window of 64; numbers past the end
wrap around to the start. uniform (TSN; Wang et al., ECCV 2016): the video is cut into T segments of n/T
frames, and each segment contributes one frame.
Both match the code that produced the published numbers exactly.
"""

from typing import Literal

import numpy as np

from tanet.errors import UserError

Sampling = Literal["dense", "uniform"]


def train_indices(
    n: int, *, frames: int, sampling: Sampling, generator: np.random.Generator, window: int = 64
) -> np.ndarray:
    """Draw random frames for training from a video of n frames: int64 [T]."""
    _check(n, frames=frames, clips=1)
    if sampling == "dense":
        starts = _dense_starts(n, window=window)
        # Like the published code, never draw the last start.
        start = 0 if starts == 1 else int(generator.integers(starts - 1))
        return _dense(start, n, frames=frames, window=window)
    segment = n // frames
    if segment == 0:
        return np.zeros(frames, np.int64)
    return np.arange(frames) * segment + generator.integers(segment, size=frames)


def middle_indices(n: int, *, frames: int, sampling: Sampling, window: int = 64) -> np.ndarray:
    """Return the middle clip of a video of n frames: int64 [T]."""
    _check(n, frames=frames, clips=1)
    if sampling == "dense":
        return _dense(_dense_starts(n, window=window) // 2, n, frames=frames, window=window)
    tick = n / frames
    return (tick / 2 + tick * np.arange(frames)).astype(np.int64)


def eval_indices(n: int, *, frames: int, clips: int, sampling: Sampling, window: int = 64) -> np.ndarray:
    """Spread V = `clips` clips evenly over a video of n frames: int64 [V, T]. One clip is the middle clip."""
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
        raise UserError(f"{frames} frames do not fit into a window of {window}")
    return (start + np.arange(frames) * (window // frames)) % n


def _check(n: int, *, frames: int, clips: int) -> None:
    if min(n, frames, clips) < 1:
        raise UserError(f"a clip needs at least one frame: video of {n}, clip of {frames}, {clips} clips")

"""Selection of the T frames of a clip from a video of n frames, as frame numbers from 0.

dense (Kinetics, "64 consecutive frames"): every (64 // T)-th frame of a window of 64; numbers past the end
wrap around to the start. uniform (TSN; Wang et al., ECCV 2016): the video is cut into T segments, and each
segment contributes one frame.

In uniform sampling, segments have n/T frames. So a video of fewer than T frames is spread over the clip, in
training as in testing. The published code cuts training videos into segments of n // T frames. Then the
network never sees the last n % T frames of a video. If a video has fewer than T frames, the network sees only
its first frame. `segments` = "published" samples in this way; "shared" does, too, with one random offset for
all segments.

Some other code uses dense windows of (64 // T) · T frames. For these, set `window` to that number.

`rate` = "30fps" samples dense windows as PySlowFast does, so that a clip lasts equally long in all videos.
The window is w = window · fps / 30 frames long, and its start s may lie between two frames. Frame i of the
clip is ⌊s + i (w - 1) / (T - 1)⌋. Past the end of the video, the last frame is repeated.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import torch

from tanet.errors import UserError

Sampling = Literal["dense", "uniform"]
Segments = Literal["equal", "published", "mmaction2", "shared"]
Rate = Literal["video", "30fps"]
Style = Literal["tanet", "published", "tsm", "mmaction2", "pyslowfast"]


def train_indices(
    n: int,
    *,
    frames: int,
    sampling: Sampling,
    generator: np.random.Generator,
    window: int = 64,
    segments: Segments = "equal",
    rate: Rate = "video",
    fps: float | None = None,
) -> np.ndarray:
    """Draw the frames of a random training clip from a video of n frames. Return int64 [T].

    Only `rate` 30fps uses the video's frame rate `fps`. If it is not known, it is taken as 30.
    """
    _check(n, frames=frames, clips=1)
    if sampling == "dense" and rate == "30fps":
        length = _frames_in(window, fps)
        start = generator.uniform(0, max(n - length, 0))
        return _timed([start], n, frames=frames, length=length)[0]
    if sampling == "dense":
        starts = _dense_starts(n, window=window)
        # Never draw the last possible start of the window, because the published code never draws it.
        start = 0 if starts == 1 else int(generator.integers(starts - 1))
        return _dense(start, n, frames=frames, window=window)
    if segments == "equal":
        return _spread(n, frames=frames, at=generator.random(frames))
    if n < frames:
        even = np.around(np.arange(frames) * n / frames) if segments == "mmaction2" else np.zeros(frames)
        return even.astype(np.int64)
    segment = n // frames
    offsets = generator.integers(segment, size=1 if segments == "shared" else frames)
    return np.arange(frames) * segment + offsets


def middle_indices(n: int, *, frames: int, sampling: Sampling, window: int = 64) -> np.ndarray:
    """Return the middle clip of a video of n frames: int64 [T]."""
    _check(n, frames=frames, clips=1)
    if sampling == "dense":
        return _dense(_dense_starts(n, window=window) // 2, n, frames=frames, window=window)
    return _spread(n, frames=frames, at=0.5)


def eval_indices(
    n: int,
    *,
    frames: int,
    clips: int,
    sampling: Sampling,
    window: int = 64,
    style: Style = "tanet",
    rate: Rate = "video",
    fps: float | None = None,
) -> np.ndarray:
    """Spread V = `clips` clips evenly over a video of n frames: int64 [V, T]. One clip is the middle clip.

    `style` selects the rules of other code. TSM and mmaction2 test two uniform clips: the middle frames of
    the segments, and their first frames ("twice_sample"). A single dense clip of mmaction2 is the first
    one. PySlowFast's dense clip k of V starts at k/V of the last possible start, so no clip is the last one.
    Of one clip, its published code would see only the start of the video; here, it is the middle clip.

    Only `rate` 30fps uses the video's frame rate `fps`. If it is not known, it is taken as 30.
    """
    _check(n, frames=frames, clips=clips)
    if sampling == "dense" and rate == "30fps":
        length = _frames_in(window, fps)
        starts = _spread_starts(max(n - length, 0), clips=clips, style=style)
        return _timed(starts, n, frames=frames, length=length)
    if clips == 1 and (sampling == "uniform" or style != "mmaction2"):
        return middle_indices(n, frames=frames, sampling=sampling, window=window)[None]
    if sampling == "dense":
        last = _dense_starts(n, window=window) - 1
        starts = _spread_starts(last, clips=clips, style=style).astype(np.int64)
        return _dense(starts[:, None], n, frames=frames, window=window)
    twice = style in ("tsm", "mmaction2")
    if twice and clips > 2:
        raise UserError(f"eval.style {style} has 1 or 2 uniform clips, not {clips}: lower --eval.clips")
    if twice:
        return np.stack([_spread(n, frames=frames, at=at) for at in (0.5, 0.0)])
    tick = n / frames
    starts = np.linspace(0, tick - 1, clips).astype(np.int64)
    return (starts[:, None] + tick * np.arange(frames)).astype(np.int64) % n


def _spread(n: int, *, frames: int, at: float | np.ndarray) -> np.ndarray:
    """Return a frame of each of T equal segments: at 0 the first, at 0.5 the middle, below 1 the last."""
    tick = n / frames
    return np.minimum(tick * at + tick * np.arange(frames), n - 1).astype(np.int64)


def _frames_in(window: int, fps: float | None) -> float:
    """Return how many frames of a video last as long as `window` frames at 30 fps."""
    return window * (fps or 30.0) / 30.0


def _spread_starts(last: float, *, clips: int, style: Style) -> np.ndarray:
    """Return the starts of V dense clips, of which none may start after `last`: float64 [V]."""
    if clips == 1:
        return np.array([0.0 if style == "mmaction2" else last / 2])
    if style == "pyslowfast":
        return last * np.arange(clips) / clips
    return np.linspace(0, last, clips)


def _timed(starts: Iterable[float], n: int, *, frames: int, length: float) -> np.ndarray:
    """Spread the T frames of each clip over `length` frames of the video: int64 [V, T]."""
    # PySlowFast computes these positions in float32. Float64 would put some of them into another frame.
    clips = [torch.linspace(start, start + length - 1, frames).clamp(0, n - 1) for start in starts]
    return torch.stack(clips).long().numpy()


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

"""Measure frames per second of optical flow on one core.

    python -m bench flow [--methods dis tvl1] [--frames 1000 20]

A smooth texture moves by (2, 0) pixels per frame. The time is that of the flow alone, without decoding and
writing. `error` is the largest distance of a flow's mean from (2, 0), in pixels, without a border of 8
pixels.
"""

import argparse
import time
from collections.abc import Iterator

import numpy as np

from bench.common import percentiles
from tanet.data.optical_flow import METHODS, import_opencv, make_estimator

KEY = ("method", "width", "height")
STEP = 2
BORDER = 8


def flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--frames", nargs="+", type=int, default=[1000, 20, 1000], help="for each method")
    parser.add_argument("--size", nargs=2, type=int, default=[340, 256], metavar=("W", "H"))


def rows(flags: argparse.Namespace) -> Iterator[dict[str, object]]:
    cv2 = import_opencv()
    cv2.setNumThreads(1)
    width, height = flags.size
    for method, count in zip(flags.methods, flags.frames, strict=True):
        frames = moving_texture(min(count, 100), height=height, width=width)
        estimate = make_estimator(method)
        estimate(frames[0], frames[1])
        times, error = [], 0.0
        for number in range(count):
            first = frames[number % (len(frames) - 1)]
            second = frames[number % (len(frames) - 1) + 1]
            start = time.perf_counter()
            flow = estimate(first, second)
            times.append(time.perf_counter() - start)
            mean = flow[BORDER:-BORDER, BORDER:-BORDER].mean((0, 1))
            error = max(error, float(np.abs(mean - (STEP, 0)).max()))
        rates = percentiles([1 / seconds for seconds in times])
        yield {
            "method": method,
            "frames": count,
            "width": width,
            "height": height,
            "cores": 1,
            **{f"frames_s_{key}": f"{value:.3g}" for key, value in rates.items()},
            "error": f"{error:.4f}",
        }


def moving_texture(count: int, *, height: int, width: int) -> np.ndarray:
    """Return grey frames, uint8 [T, H, W], of a smooth texture that moves to the right."""
    cv2 = import_opencv()
    noise = np.random.default_rng(0).random((height, width + STEP * count))
    smooth = cv2.GaussianBlur(noise, (0, 0), 2)
    smooth = 255 * (smooth - smooth.min()) / (smooth.max() - smooth.min())
    starts = [STEP * (count - number) for number in range(count)]
    return np.stack([smooth[:, start : start + width] for start in starts]).astype(np.uint8)

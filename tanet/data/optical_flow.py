"""Optical flow between consecutive frames, stored as bytes, as two-stream networks expect.

A byte b stands for a displacement of 40 b / 255 - 20 pixels per frame; larger displacements are cut off at
±20 pixels. n frames have n - 1 flows, each from one frame to the next.

Methods, all on grey frames, with the settings that Wang et al. (Temporal Segment Networks, ECCV 2016) and
later codebases use:

    dis          dense inverse search (Kroeger et al., ECCV 2016), OpenCV's medium preset: fast
    tvl1         TV-L1 (Zach et al. 2007), OpenCV's defaults: the method of TSN, I3D and TSM, slow
    farneback    polynomial expansion (Farnebäck 2003), as in TSN's dense_flow
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from multiprocessing import parent_process
from types import ModuleType
from typing import Any, Literal, get_args

import numpy as np

from tanet.errors import UserError
from tanet.video import Video

Method = Literal["dis", "tvl1", "farneback"]
METHODS: tuple[Method, ...] = get_args(Method)
BOUND = 20.0
"""Largest displacement that a byte can stand for, in pixels per frame."""

CHUNK = 2**27
"""Maximum size of the decoded frames in memory, in bytes."""

Estimator = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Two grey frames, uint8 [H, W] → displacements x, y in pixels, float32 [H, W, 2]."""


def import_opencv(method: Method = "dis") -> ModuleType:
    """Import OpenCV.

    Raises:
        UserError: OpenCV is not installed, or lacks the method.
    """
    install = "pip install 'tanet[flow]'"
    try:
        import cv2
    except ImportError as error:
        raise UserError(f"optical flow needs OpenCV ({error}): {install}") from error
    if method == "tvl1" and not hasattr(cv2, "optflow"):
        raise UserError(
            "TV-L1 needs opencv-contrib-python-headless; the installed OpenCV lacks it: uninstall "
            f"opencv-python and opencv-python-headless, then {install}; or use --method dis"
        )
    return cv2


def make_estimator(method: Method) -> Estimator:
    """Make the function that computes the flow from one frame to the next.

    Raises:
        UserError: the method is unknown, or OpenCV lacks it.
    """
    if method not in METHODS:
        raise UserError(f"unknown method '{method}': choose from {', '.join(METHODS)}")
    cv2: Any = import_opencv(method)
    if method == "dis":
        dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        return lambda first, second: dis.calc(first, second, None)
    if method == "tvl1":
        tvl1 = cv2.optflow.DualTVL1OpticalFlow_create()
        return lambda first, second: tvl1.calc(first, second, None)
    settings = (0.702, 5, 10, 2, 7, 1.5, cv2.OPTFLOW_FARNEBACK_GAUSSIAN)
    return lambda first, second: cv2.calcOpticalFlowFarneback(first, second, None, *settings)


def flow_between(
    video: Video, numbers: Sequence[int], *, method: Method, size: tuple[int, int]
) -> Iterator[tuple[int, np.ndarray]]:
    """Compute the flow from frames of a video to their next frames.

    Args:
        video: an opened video.
        numbers: numbers of the first frames, ascending.
        method: method of the computation.
        size: width and height to which frames are resized first, in pixels; (0, 0) keeps their size.

    Yields:
        The number of each first frame, and the displacements x and y in pixels of the resized frames,
        float32 [H, W, 2].

    Raises:
        VideoError: a frame cannot be read.
        UserError: OpenCV is not installed, or lacks the method.
    """
    estimate = make_estimator(method)
    cv2: Any = import_opencv(method)
    if parent_process() is not None:
        cv2.setNumThreads(1)  # other processes run in parallel; OpenCV's threads do not survive a fork
    chunk = max(1, CHUNK // (3 * video.info.height * video.info.width))
    grey: dict[int, np.ndarray] = {}
    for start in range(0, len(numbers), chunk):
        part = numbers[start : start + chunk]
        needed = sorted({frame for number in part for frame in (number, number + 1)})
        grey = {number: grey[number] for number in needed if number in grey}
        new = [number for number in needed if number not in grey]
        for number, pixels in zip(new, video.read(new).numpy(), strict=True):
            picture = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
            grey[number] = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR) if any(size) else picture
        for number in part:
            yield number, estimate(grey[number], grey[number + 1])


def flow_to_bytes(flow: np.ndarray) -> np.ndarray:
    """Convert displacements in pixels to bytes; larger ones than ±BOUND are cut off.

    Raises:
        ValueError: a displacement is not a number.
    """
    if np.isnan(flow).any():
        raise ValueError("the flow has values that are not numbers")
    return np.rint((flow.clip(-BOUND, BOUND) + BOUND) * (255 / (2 * BOUND))).astype(np.uint8)


def bytes_to_flow(stored: np.ndarray) -> np.ndarray:
    """Convert bytes to displacements in pixels, float32."""
    return stored.astype(np.float32) * (2 * BOUND / 255) - BOUND

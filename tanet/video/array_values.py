"""Values of pixels: any values whose range can be recognised → uint8.

    uint8               taken as they are
    bool                False → 0, True → 255
    other integers      0 … 255, taken as they are
    floats, 0 … 1       times 255, rounded
    floats, 0 … 255     rounded; the largest value is at least 2

All other values are refused. Negative floats are usually normalised pixels. Floats whose largest value is
between 1 and 2 could be a black video in 0 … 255, or a video in 0 … 1 with values that are too large. Values
may exceed 0 and 1 by `ROUNDING`. The range is that of all pictures of a video, so a dark frame is not scaled
differently from the other frames.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from tanet.errors import UserError
from tanet.video.array_layout import Array

ROUNDING = 1e-3


def factor_to_uint8(pictures: Iterable[Array]) -> float:
    """Return the factor that scales pixels of these pictures to 0 … 255, where all have the same dtype.

    Raises:
        UserError: the dtype is not that of pixels, or the range of the values is not recognised.
    """
    low, high, kind = np.inf, -np.inf, "uint8"
    for picture in pictures:
        kind = _kind(picture)
        if kind in ("uint8", "bool"):
            return 255.0 if kind == "bool" else 1.0
        values = picture.detach().double() if isinstance(picture, torch.Tensor) else picture
        picture_low, picture_high = float(values.min()), float(values.max())
        # A comparison with NaN is false, so find NaN here; infinities are found at the end.
        if picture_low != picture_low or picture_high != picture_high:
            raise UserError(f"{kind} frames contain NaN")
        low, high = min(low, picture_low), max(high, picture_high)
    return _factor(kind, low, high)


def to_uint8(pictures: Array, factor: float) -> NDArray[np.uint8]:
    """Convert pictures [..., C] to uint8 RGB [..., 3] on the CPU. Repeat grey values; drop alpha."""
    if pictures.shape[-1] == 4:
        pictures = pictures[..., :3]
    if isinstance(pictures, torch.Tensor):
        pictures = pictures.detach().cpu()
        values = (pictures if pictures.dtype == torch.uint8 else pictures.float()).numpy()
    else:
        values = pictures
    if values.dtype != np.uint8:
        values = np.rint(np.clip(values.astype(np.float32) * np.float32(factor), 0, 255)).astype(np.uint8)
    if values.shape[-1] == 1:
        values = np.repeat(values, 3, axis=-1)
    return np.ascontiguousarray(values)


def _kind(picture: Array) -> str:
    """Return the name of the dtype. Raise UserError if this dtype cannot hold pixels."""
    if isinstance(picture, torch.Tensor):
        kind, dense = str(picture.dtype).removeprefix("torch."), picture.layout == torch.strided
    else:
        kind, dense = picture.dtype.name, True
    if not dense or not kind.startswith(("bool", "int", "uint", "float", "bfloat")):
        raise UserError(f"expected pixels, uint8 or float, not {kind if dense else 'a sparse tensor'}")
    return kind


def _factor(kind: str, low: float, high: float) -> float:
    values = f"{kind} frames with values {low:.4g} … {high:.4g}"
    if "float" not in kind:
        if low < 0 or high > 255:
            raise UserError(f"{values}: expected integers in 0 … 255")
        return 1.0
    if low < -ROUNDING or high > 255 + ROUNDING:
        cause = "these look normalised; " if low < 0 and np.isfinite((low, high)).all() else ""
        raise UserError(f"{values}: {cause}give pixels in 0 … 1 or 0 … 255, before normalisation")
    if high <= 1 + ROUNDING:
        return 255.0
    if high < 2:
        raise UserError(f"{values} can be pixels in 0 … 1 or 0 … 255: convert the frames to uint8")
    return 1.0

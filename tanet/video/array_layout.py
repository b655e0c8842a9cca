"""Layouts of arrays of pictures: any layout that can be recognised → channels last.

A video, [frames, H, W, C] after this module:

    [T, H, W, C]  [T, C, H, W]  [C, T, H, W]      C = 3 RGB; 1 grey; 4 RGB and alpha, only if C is not first
    [T, H, W]                                     grey
    [1, …]                                        a batch of one video in one of the layouts with C

The axis of the channels is recognised by its length:

    1. The last axis, if its length is 1, 3 or 4.
    2. Otherwise the second or the first axis, if its length is 3.
    3. Otherwise the second axis, if its length is 1 or 4, or the first axis, if its length is 1.

An array is refused if its shape does not show whether frames or channels come first: [3, 3, H, W],
[3, 1, H, W], [1, 4, H, W].

A picture, [H, W, C] after this module: [H, W, C], [C, H, W] or [H, W]; the last axis has precedence.
"""

from collections.abc import Sequence

import numpy as np
import torch

from tanet.errors import UserError

Array = np.ndarray | torch.Tensor

CHANNELS = (1, 3, 4)  # grey, RGB, RGB and alpha
ONE_FRAME = "for a video of one frame, give a list, [picture], or an array [1, H, W, C]"
ARRANGE = "arrange the frames as [frames, H, W, 3]"


def frames_channels_last(array: Array) -> Array:
    """Return a view of a video's frames as [T, H, W, C], with C 1, 3 or 4.

    Raises:
        UserError: the layout is not recognised, or the array is empty, one picture or several videos.
    """
    shape = list(array.shape)
    if len(shape) == 5:
        if shape[0] != 1:
            raise UserError(f"{shape} is a batch of {shape[0]} videos: give one video, such as batch[0]")
        array, shape = array[0], shape[1:]
    if len(shape) not in (3, 4):
        raise UserError(f"{_expected(array)}{_one_picture_or_file(array)}")
    if 0 in shape:
        raise UserError(f"{_expected(array)}: the array is empty")
    if len(shape) == 3:
        return _grey_frames(array)[..., None]
    axis = _channel_axis(array)
    return _transpose(array, ([0, 1, 2, 3], [0, 2, 3, 1], [1, 2, 3, 0])[(3, 1, 0).index(axis)])


def picture_channels_last(array: Array) -> Array:
    """Return a view of one picture as [H, W, C], with C 1, 3 or 4.

    Raises:
        UserError: the array is not a picture.
    """
    shape = list(array.shape)
    if 0 not in shape:
        if len(shape) == 2:
            return array[..., None]
        if len(shape) == 3 and shape[2] in CHANNELS:
            return array
        if len(shape) == 3 and shape[0] in CHANNELS:
            return _transpose(array, [1, 2, 0])
    raise UserError(f"expected a picture [H, W, 3], [3, H, W] or [H, W], not {shape}")


def _grey_frames(array: Array) -> Array:
    """Return an array of three axes if it is a grey video [T, H, W], and not one picture."""
    shape = list(array.shape)
    if shape[2] in CHANNELS or shape[0] == 1:
        raise UserError(f"one picture, not a video: {shape}; {ONE_FRAME}")
    if shape[0] in CHANNELS:
        raise UserError(
            f"{shape} is one picture or {shape[0]} grey frames: give [picture], "
            f"or the grey frames as [{shape[0]}, {shape[1]}, {shape[2]}, 1]"
        )
    return array


def _channel_axis(array: Array) -> int:
    shape = list(array.shape)
    first, second = shape[:2]
    if shape[3] in CHANNELS:
        return 3
    if (first, second) in ((3, 3), (3, 1), (1, 4)):
        call = "permute" if isinstance(array, torch.Tensor) else "transpose"
        raise UserError(
            f"{shape} can be frames first or channels first: {ARRANGE}, "
            f"with {call}(0, 2, 3, 1) for frames first or {call}(1, 2, 3, 0) for channels first"
        )
    if 3 in (first, second):
        return 1 if second == 3 else 0
    if second in CHANNELS or first == 1:
        return 1 if second in CHANNELS else 0
    raise UserError(f"{_expected(array)}: cannot tell which axis holds the channels; {ARRANGE}")


def _transpose(array: Array, axes: Sequence[int]) -> Array:
    return array.permute(*axes) if isinstance(array, torch.Tensor) else array.transpose(axes)


def _expected(array: Array) -> str:
    kind = str(array.dtype).removeprefix("torch.")
    return f"expected frames [frames, H, W, 3], not {kind} {list(array.shape)}"


def _one_picture_or_file(array: Array) -> str:
    if array.ndim == 2:
        return f": one picture, not a video; {ONE_FRAME}"
    return (
        ": for the content of a file, give bytes" if array.ndim == 1 and "uint8" in str(array.dtype) else ""
    )

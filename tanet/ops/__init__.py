"""Tensors in, tensors out: the operations that the temporal modules are made of."""

from tanet.ops.adaptive_conv import Act, activate, adaptive_conv, implementation
from tanet.ops.clips import as_clips
from tanet.ops.norm import Norm
from tanet.ops.shift import shift
from tanet.ops.shift_sum import shift_sum
from tanet.ops.statistics import moments, squeeze
from tanet.ops.taken import Taken, take_in

__all__ = [
    "Act",
    "Norm",
    "Taken",
    "activate",
    "adaptive_conv",
    "as_clips",
    "implementation",
    "moments",
    "shift",
    "shift_sum",
    "squeeze",
    "take_in",
]

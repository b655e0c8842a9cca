"""Tensors in, tensors out: the operations that the temporal modules are made of."""

from tanet.ops.adaptive_convolution.op import adaptive_conv
from tanet.ops.common.batch_norm import Norm
from tanet.ops.common.clips import as_clips
from tanet.ops.common.dispatch import Act, activate, implementation
from tanet.ops.pooling.op import moments, squeeze
from tanet.ops.squeeze_filter.op import Taken, take_in
from tanet.ops.temporal_shift.op import shift
from tanet.ops.temporal_shift.shift_sum import shift_sum

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

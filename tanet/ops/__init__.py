"""Tensor operations from which the temporal modules are built."""

from tanet.ops.adaptive_convolution.op import adaptive_conv
from tanet.ops.common.batch_norm import BatchNormValues
from tanet.ops.common.clips import as_clips
from tanet.ops.common.dispatch import Activation, Backend, activate, backend_for
from tanet.ops.pooling.op import moments, squeeze
from tanet.ops.squeeze_filter.op import SqueezedMaps, squeeze_maps
from tanet.ops.temporal_shift.op import shift
from tanet.ops.temporal_shift.shift_sum import shift_sum

__all__ = [
    "Activation",
    "Backend",
    "BatchNormValues",
    "SqueezedMaps",
    "activate",
    "adaptive_conv",
    "as_clips",
    "backend_for",
    "moments",
    "shift",
    "shift_sum",
    "squeeze",
    "squeeze_maps",
]

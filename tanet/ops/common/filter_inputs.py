"""Inputs of the temporal adaptive convolution, in the order that all its implementations use."""

from typing import NamedTuple

import torch

from tanet.ops.common.dispatch import Activation


class FilterInputs(NamedTuple):
    """The maps to filter and the values to filter them with; see `adaptive_conv`."""

    x: torch.Tensor
    """Feature maps [N·T, C, H, W]."""
    kernel: torch.Tensor
    """Temporal filters [N, C, K]."""
    gate: torch.Tensor | None
    """Importance of each frame [N, C, T]."""
    scale: torch.Tensor | None
    """[C], factor of the affine map before the filter; given together with `shift`."""
    shift: torch.Tensor | None
    """[C], offset of that affine map."""
    act: Activation

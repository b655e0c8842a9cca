"""Inputs of the temporal adaptive convolution, in the argument order of all implementations."""

from typing import NamedTuple

import torch

from tanet.ops.common.dispatch import Activation


class FilterInputs(NamedTuple):
    """Inputs of `adaptive_conv`: the maps to filter, and the tensors that define the filter."""

    x: torch.Tensor
    """Feature maps [N·T, C, H, W]."""
    kernel: torch.Tensor
    """Temporal filters [N, C, K]."""
    gate: torch.Tensor | None
    """Importance of each frame [N, C, T]; None for no gate."""
    scale: torch.Tensor | None
    """[C]. Before the filter, x is replaced by scale · x + shift. None to leave out this step."""
    shift: torch.Tensor | None
    """[C], the offset in scale · x + shift. None if and only if `scale` is None."""
    act: Activation

"""The inputs of the temporal adaptive convolution, in the order in which all its forms take them."""

from typing import NamedTuple

import torch

from tanet.ops.common.dispatch import Activation


class FilterInputs(NamedTuple):
    """What is filtered, and by what; see `adaptive_conv`."""

    x: torch.Tensor
    """Feature maps [N·T, C, H, W]."""
    kernel: torch.Tensor
    """[N, C, K]."""
    gate: torch.Tensor | None
    """[N, C, T]."""
    scale: torch.Tensor | None
    """[C], together with `shift`."""
    shift: torch.Tensor | None
    """[C]."""
    act: Activation

"""The first convolution of a network, and its input channels: 3 for RGB, 2 for each optical flow.

    W'[o, c] = 1/3 · Σ_rgb W[o, rgb]    for each channel c of the flows

RGB kernels initialise a network for optical flow: they are averaged over their channels and repeated for each
new channel, without scaling (cross-modality initialization; Wang et al., "Temporal Segment Networks", ECCV
2016).
"""

from collections.abc import Mapping

import torch
from torch import nn

from tanet.errors import UserError


def first_conv(network: nn.Module) -> tuple[str, nn.Conv2d | nn.Conv3d]:
    """Return the first convolution of a network and its name.

    Raises:
        UserError: the network has no convolution.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            return name, module
    raise UserError(f"{type(network).__name__} has no convolution")


def set_input_channels(network: nn.Module, channels: int) -> None:
    """Give the first convolution of a 2D network another number of input channels, in place.

    The new weights use the initialization of He et al. (ICCV 2015) with fan-out.
    """
    name, old = first_conv(network)
    if old.in_channels == channels:
        return
    assert isinstance(old, nn.Conv2d) and isinstance(old.padding, tuple)
    size, stride, padding = ((pair[0], pair[1]) for pair in (old.kernel_size, old.stride, old.padding))
    new = nn.Conv2d(channels, old.out_channels, size, stride, padding, bias=old.bias is not None)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    network.set_submodule(name, new)


def for_input_channels(state: Mapping[str, torch.Tensor], network: nn.Module) -> dict[str, torch.Tensor]:
    """Return weights in which RGB kernels of the first convolution are adapted to the network's channels.

    Args:
        state: weights with the names of the network.
        network: network that will receive them.
    """
    first, conv = first_conv(network)
    name = f"{first}.weight"
    kernel = state.get(name)
    if kernel is None or kernel.shape[1:2] != (3,) or conv.in_channels == 3:
        return dict(state)
    mean = kernel.mean(1, keepdim=True)
    return {**state, name: mean.expand(-1, conv.in_channels, *mean.shape[2:]).contiguous()}

"""Make the first convolution of a network faster in compiled training on a GPU.

cuDNN is slow for three input channels. Four neighbouring pixels therefore become one pixel with four times as
many channels; see ops/stem_convolution/op.py. The compiler fuses the packing with the conversion to 16 bits.
"""

import torch
from torch import nn

from tanet.ops.stem_convolution.op import convolve_packed
from tanet.ops.stem_convolution.packing import fits


def pack_stems(network: nn.Module) -> int:
    """Make convolutions with stride 2 and few input channels pack their pixels, in place.

    They pack only in code compiled by `torch.compile`, on a GPU, under autocast. Names and values of
    parameters do not change, and outputs stay the same up to rounding.

    Returns:
        Number of changed convolutions.
    """
    found = 0
    for module in network.modules():
        if type(module) in PACKED and _fits(module):  # type: ignore[arg-type]
            # Change only the class, because a wrapper module would rename the parameters.
            module.__class__ = PACKED[type(module)]
            found += 1
    return found


def _fits(conv: nn.Conv2d | nn.Conv3d) -> bool:
    if conv.padding_mode != "zeros" or isinstance(conv.padding, str) or max(conv.dilation) > 1:
        return False
    return fits(conv.weight, list(conv.stride), list(conv.padding), conv.groups)


class PackedConv2d(nn.Conv2d):
    """Conv2d that `pack_stems` has changed."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Compute the convolution, [N, C, H, W] → [N, O, ⌈H / 2⌉, ⌈W / 2⌉]."""
        if not _packs(input):
            return super().forward(input)
        return convolve_packed(_half(input), self.weight, self.bias)


class PackedConv3d(nn.Conv3d):
    """Conv3d that `pack_stems` has changed."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Compute the convolution, [N, C, T, H, W] → [N, O, T', ⌈H / 2⌉, ⌈W / 2⌉]."""
        if not _packs(input):
            return super().forward(input)
        return convolve_packed(_half(input), self.weight, self.bias, step=self.stride[0])


PACKED: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: PackedConv2d, nn.Conv3d: PackedConv3d}


def _packs(x: torch.Tensor) -> bool:
    """Return whether to pack. In eager mode, the passes over the images would cost more than they gain."""
    return x.is_cuda and torch.is_autocast_enabled("cuda") and torch.compiler.is_compiling()


def _half(x: torch.Tensor) -> torch.Tensor:
    return x.to(torch.get_autocast_dtype("cuda"))

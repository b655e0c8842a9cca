"""Fold BatchNorms into convolutions, for inference.

In evaluation mode, a BatchNorm multiplies each channel by a constant s and adds a constant b. The convolution
before the BatchNorm gives the same result if its weights are multiplied by s and b becomes its bias:

    BN(W ∗ x) = (s W) ∗ x + b,    s = γ / √(var + ε),    b = β - mean · s
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from tanet.models.fusion.packed_stem import PackedConv2d, PackedConv3d

NORMS: dict[type[nn.Module], type[nn.Module]] = {
    **dict.fromkeys((nn.Conv2d, PackedConv2d), nn.BatchNorm2d),
    **dict.fromkeys((nn.Conv3d, PackedConv3d), nn.BatchNorm3d),
}


def fold_batch_norms(network: nn.Module) -> int:
    """Fold each BatchNorm into the 2D or 3D convolution directly before it, in place.

    If a convolution and a BatchNorm are consecutive children of one module, the BatchNorm is assumed to run
    directly after the convolution. This assumption holds for all networks of tanet and torchvision. The two
    layers are left unchanged if a temporal module or another hook runs between them or after the BatchNorm.

    Returns:
        Number of folded BatchNorms.
    """
    folded = 0
    for parent in list(network.modules()):
        for (_, conv), (name, norm) in pairwise(list(parent.named_children())):
            if NORMS.get(type(conv)) is not type(norm):
                continue
            assert isinstance(conv, nn.Conv2d | nn.Conv3d)
            assert isinstance(norm, nn.BatchNorm2d | nn.BatchNorm3d)
            between = conv._forward_hooks or norm._forward_pre_hooks or norm._forward_hooks
            if between or conv.out_channels != norm.num_features or norm.running_mean is None:
                continue
            _fold(conv, norm)
            setattr(parent, name, nn.Identity())
            folded += 1
    return folded


@torch.no_grad()
def _fold(conv: nn.Conv2d | nn.Conv3d, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )

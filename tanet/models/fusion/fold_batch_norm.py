"""Fold BatchNorms into convolutions: in evaluation a BatchNorm is an affine map that the weights can absorb.

BN(W ∗ x) = (s W) ∗ x + b,    s = γ / √(var + ε),    b = β - mean · s
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fold_batch_norms(network: nn.Module) -> int:
    """Fold every BatchNorm2d into the convolution directly before it, in place; return how many were folded.

    Pairs are found by structure: if a convolution and a norm are consecutive children of one module, the norm
    is assumed to run directly after the convolution, as in all of our networks and in torchvision's. A pair
    is left unchanged if a temporal module or any other hook runs on the convolution's output or on the norm.
    """
    folded = 0
    for parent in list(network.modules()):
        for (_, conv), (name, norm) in pairwise(list(parent.named_children())):
            if type(conv) is not nn.Conv2d or type(norm) is not nn.BatchNorm2d:
                continue
            between = conv._forward_hooks or norm._forward_pre_hooks or norm._forward_hooks
            if between or conv.out_channels != norm.num_features or norm.running_mean is None:
                continue
            _fold(conv, norm)
            setattr(parent, name, nn.Identity())
            folded += 1
    return folded


@torch.no_grad()
def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )

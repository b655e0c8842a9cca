"""Folding: a BatchNorm in evaluation is an affine map, which the convolution before it can do.

BN(W ∗ x) = (s W) ∗ x + b,    s = γ / √(var + ε),    b = β - mean · s
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


def fold_batch_norms(network: nn.Module) -> int:
    """Fold, in place, every BatchNorm2d into the convolution whose output alone enters it; return how many.

    They are found by structure: a convolution and a norm that are consecutive children of one module are
    taken to run one after the other, as they do in all of our networks and in torchvision's. Where a temporal
    module or any hook stands between the two, or beside them, they stay.
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

"""Make each temporal adaptive module (TAM) absorb the BatchNorm and the activation before the TAM.

    conv1 → norm → act → [TAM → conv2]        becomes        conv1 → [norm · act · TAM → conv2]

Brackets show what a call of conv2 runs: first the TAM, which is inserted before conv2, and then conv2. A dot
joins operations that the TAM computes together.

Absorbing saves time where the fused kernels run (`tanet.ops.backend_for`), because these kernels never write
the normalised feature map to memory. The kernels compute the map from conv1's output whenever they need the
map, in the forward and in the backward pass. Parameters keep their names and values, so a checkpoint fits the
network before and after this change. The outputs are the same up to rounding.

    conv1 → [norm · act · TAM → conv2]        becomes        [conv1 · norm · act · TAM → conv2]

This second change (`absorb_convs`) is for inference only. One kernel can then compute conv1's output and also
the mean over H and W that the TAM needs.
"""

from collections import Counter
from itertools import pairwise

from torch import nn

from tanet.models.insertion.sites import find_sites
from tanet.models.temporal.absorbed_norm import AbsorbedBatchNorm
from tanet.models.temporal.tam import TAM
from tanet.ops import Activation

ACTS: dict[type[nn.Module], Activation] = {nn.ReLU: "relu", nn.ReLU6: "relu6"}


def absorb_batch_norms(network: nn.Module) -> int:
    """Make each TAM at position b absorb the BatchNorm and the activation before the TAM, in place.

    A TAM is changed only if all of these conditions are true:

    - The layers before the TAM are a BatchNorm2d (not a SyncBatchNorm) and a ReLU or ReLU6 module.
    - The BatchNorm2d has weights, momentum and running statistics.
    - The network contains the TAM, the BatchNorm2d and the activation only once each. (In torchvision's
      ResNets, several layers of a block share one ReLU module, so TAMs in these networks stay unchanged.)
    - The BatchNorm2d and the activation have no hooks.

    To use SyncBatchNorm, convert the network before this call. A later conversion would replace the absorbed
    BatchNorms.

    Args:
        network: 2D network with temporal modules, for example the `backbone` of a VideoNet. Its structure
            must be known to `find_sites`.

    Returns:
        Number of TAMs that absorbed a BatchNorm.
    """
    if not any(isinstance(module, TAM) for module in network.modules()):
        return 0  # other temporal modules may have replaced the convolutions that find_sites looks for
    places = Counter(id(module) for _, module in network.named_modules(remove_duplicate=False))
    fused = 0
    for site in find_sites(network, place="b"):
        tam = getattr(site.module, "temporal", None)
        if not isinstance(tam, TAM) or not site.norm:
            continue
        norm, act = network.get_submodule(site.norm), network.get_submodule(site.act)
        if type(norm) is not nn.BatchNorm2d or type(act) not in ACTS or norm.momentum is None:
            continue
        if norm.weight is None or norm.running_mean is None:
            continue
        if any(places[id(module)] > 1 for module in (tam, norm, act)) or _hooked(norm) or _hooked(act):
            continue
        # Change only the class of the norm, because a wrapper module would rename the norm's parameters.
        # Replacing the norm's `forward` method would not work: a copy of the norm would lose the new method.
        norm.__class__ = AbsorbedBatchNorm
        network.set_submodule(site.act, nn.Identity())
        tam.absorb_norm(norm, ACTS[type(act)])  # type: ignore[arg-type]
        fused += 1
    return fused


def absorb_convs(network: nn.Module) -> int:
    """Make each TAM that absorbed a BatchNorm also absorb the 1×1 convolution before the BatchNorm, in place.

    Use this function for inference only. The convolution becomes the child `conv` of the TAM, which renames
    the convolution's parameters. Kernels then read the weight without calling the convolution.
    If a convolution and a BatchNorm are consecutive children of one module, the BatchNorm is assumed to run
    directly after the convolution, as in `fold_batch_norms`. If either layer has a hook, the convolution is
    not absorbed.

    Returns:
        Number of absorbed convolutions.
    """
    takers = {id(tam.norm): tam for tam in network.modules() if isinstance(tam, TAM) and tam.norm is not None}
    absorbed = 0
    for parent in list(network.modules()):
        for (name, conv), (_, norm) in pairwise(list(parent.named_children())):
            tam = takers.get(id(norm))
            if tam is None or not _pointwise(conv) or _hooked(conv) or _hooked(norm):
                continue
            setattr(parent, name, nn.Identity())
            tam.absorb_conv(conv)  # type: ignore[arg-type]
            absorbed += 1
    return absorbed


def _hooked(module: nn.Module) -> bool:
    """Return whether the module has a hook that runs before or after the module's forward pass."""
    return bool(module._forward_pre_hooks or module._forward_hooks)


def _pointwise(conv: nn.Module) -> bool:
    """Return whether the module is a 1×1 convolution with stride 1, one group, no padding and no bias."""
    return (
        type(conv) is nn.Conv2d
        and conv.bias is None
        and (conv.kernel_size, conv.stride, conv.padding, conv.groups) == ((1, 1), (1, 1), (0, 0), 1)
    )

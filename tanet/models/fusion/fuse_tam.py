"""Fusing: each TAM takes in the BatchNorm and the activation that stand before it.

    conv1 → norm → act → [TAM → conv2]        becomes        conv1 → [norm · act · TAM → conv2]

The normalised map is then never written: TAM's kernels compute it from conv1's output where they need it, in
the forward and in the backward pass. Parameters keep their names and values, so checkpoints fit either way,
and the answers are the same up to rounding. It pays where the fused kernels run (`tanet.ops.implementation`).

    conv1 → [norm · act · TAM → conv2]        becomes        [conv1 · norm · act · TAM → conv2]

For inference alone (`absorb_convs`): then a kernel can squeeze conv1's output as it makes it.
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
    """Fuse, in place, every TAM at position b of a plugged 2D network with the norm and activation before it.

    Args:
        network: a 2D network that `find_sites` knows, plugged; the `backbone` of a VideoNet, say.

    Returns:
        How many were fused: none where the network has no TAM at position b, or where what precedes it is not
        an ordinary BatchNorm2d and a ReLU or ReLU6 of its own, as in torchvision's ResNets, where one of the
        three stands elsewhere as well, or where a hook looks at the norm or the activation. A SyncBatchNorm
        is none: convert to it before, not after.
    """
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
        # Its class alone changes: a wrapper would rename the parameters, and a patched method not survive a
        # copy.
        norm.__class__ = AbsorbedBatchNorm
        network.set_submodule(site.act, nn.Identity())
        tam.absorb_norm(norm, ACTS[type(act)])  # type: ignore[arg-type]
        fused += 1
    return fused


def absorb_convs(network: nn.Module) -> int:
    """Let every fused TAM take in the 1×1 convolution before its norm as well, in place; return how many did.

    For inference alone: the convolution becomes TAM's child `conv`, so its parameters have other names, and
    kernels read its weight without calling it. As in `fold_batch_norms`, a convolution and a norm that are
    consecutive children of one module are taken to run one after the other; one with a hook stays.
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
    """Whether a hook sees, and may change, what enters or leaves it."""
    return bool(module._forward_pre_hooks or module._forward_hooks)


def _pointwise(conv: nn.Module) -> bool:
    """Whether it is a 1×1 convolution, the same at every place."""
    return (
        type(conv) is nn.Conv2d
        and conv.bias is None
        and (conv.kernel_size, conv.stride, conv.padding, conv.groups) == ((1, 1), (1, 1), (0, 0), 1)
    )

"""Make each TAM absorb the BatchNorm and the activation before it.

    conv1 → norm → act → [TAM → conv2]        becomes        conv1 → [norm · act · TAM → conv2]

The normalised map is then never written to memory: TAM's kernels compute it from conv1's output where they
need it, in the forward and in the backward pass. Parameters keep their names and values, so checkpoints fit
both forms, and the outputs are the same up to rounding. Absorbing saves time where the fused kernels run
(`tanet.ops.backend_for`).

    conv1 → [norm · act · TAM → conv2]        becomes        [conv1 · norm · act · TAM → conv2]

This second step (`absorb_convs`) is for inference only: one kernel can then compute conv1's output and
squeeze it at the same time.
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
    """Make every TAM at position b absorb the norm and activation before it, in place.

    A TAM is changed only if

    - it follows an ordinary BatchNorm2d with weights, momentum and running statistics, not a SyncBatchNorm,
    - a ReLU or ReLU6 module lies between the two,
    - TAM, norm and activation are each used once in the network (torchvision's ResNets share one ReLU per
      block, so their TAMs stay unchanged),
    - the norm and the activation have no hooks.

    Convert to SyncBatchNorm before this call, not after: a later conversion would replace the absorbed norms.

    Args:
        network: a plugged 2D network that `find_sites` knows, for example the `backbone` of a VideoNet.

    Returns:
        Number of TAMs that absorbed their norm.
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
        # Change only the class: a wrapper would rename the parameters, and a patched method would not survive
        # a copy.
        norm.__class__ = AbsorbedBatchNorm
        network.set_submodule(site.act, nn.Identity())
        tam.absorb_norm(norm, ACTS[type(act)])  # type: ignore[arg-type]
        fused += 1
    return fused


def absorb_convs(network: nn.Module) -> int:
    """Let TAMs that absorbed a norm also absorb the 1×1 convolution before that norm; return their number.

    The change is made in place and is for inference only: the convolution becomes TAM's child `conv`, so its
    parameters are renamed, and kernels read the weight without calling the convolution. As in
    `fold_batch_norms`, a convolution and a norm that are consecutive children of one module are assumed to
    run one after the other. A convolution or norm with a hook is left unchanged.
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
    """Return whether a hook can see or change the module's input or output."""
    return bool(module._forward_pre_hooks or module._forward_hooks)


def _pointwise(conv: nn.Module) -> bool:
    """Return whether the module is a plain 1×1 convolution: stride 1, one group, no padding, no bias."""
    return (
        type(conv) is nn.Conv2d
        and conv.bias is None
        and (conv.kernel_size, conv.stride, conv.padding, conv.groups) == ((1, 1), (1, 1), (0, 0), 1)
    )

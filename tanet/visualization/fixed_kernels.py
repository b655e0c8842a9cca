"""Temporal kernels that are the same for all clips (fixed kernels): i3d, tconv, tei, tam-ibm, 3D networks.

`tanet show --against` draws fixed kernels next to the kernels Θ of TAM. TAM's kernels come from a softmax, so
they are non-negative and sum to 1. The weights w of a fixed kernel have no common scale. So each fixed kernel
is converted to shares |w_k| / Σ_j |w_j|, which are also non-negative and sum to 1.
(The paper's Figure 4 shows kernels of I3D, but the paper does not say how these kernels are scaled.)
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tanet.checkpoints.checkpoint import Checkpoint
from tanet.errors import UserError
from tanet.models.insertion.sites import STAGES, Site
from tanet.models.temporal.tei import TEI
from tanet.models.temporal.temporal_aggregation import TemporalAggregation
from tanet.models.temporal.temporal_conv import SideTaps, TemporalConv
from tanet.recipes.network2d import Network2D
from tanet.visualization.record import last_sites

FIXED = ("i3d", "tconv", "tei", "tam-ibm")
"""Modules that learn one kernel for all clips, by their names in TEMPORAL."""


@dataclass(frozen=True)
class FixedKernels:
    """The fixed kernels of one temporal module, which uses the same kernels for all clips."""

    site: str
    stage: str
    shares: torch.Tensor
    """Shares |w_k| / Σ_j |w_j| of each filter's taps: [filters, K]."""


def fixed_kernels(model: Checkpoint, *, stages: Sequence[str] = STAGES) -> list[FixedKernels]:
    """Return the fixed temporal kernels of a network, from the last temporal module of each stage.

    Raises:
        UserError: the network's temporal modules do not learn fixed kernels.
    """
    settings = model.recipe.model
    if not isinstance(settings, Network2D) and not settings.tam:
        return _of_3d(model, stages=stages)
    name = settings.temporal if isinstance(settings, Network2D) else "tam"
    if name not in FIXED:
        raise UserError(
            f"the temporal module '{name}' does not learn fixed kernels (the same for all clips): "
            f"choose a checkpoint with one of {', '.join(FIXED)}, or a 3D network without TAM"
        )
    return [
        FixedKernels(site.name, site.stage, tap_shares(_filters(site)))
        for site in last_sites(model, stages=stages)
    ]


def name_of_kernels(model: Checkpoint) -> str:
    """Return what learns the fixed kernels of a network: its temporal module, or 3D convolutions."""
    settings = model.recipe.model
    return settings.temporal if isinstance(settings, Network2D) else "3D convolution"


def _of_3d(model: Checkpoint, *, stages: Sequence[str]) -> list[FixedKernels]:
    """Return the kernels of the last convolution over time in each stage of a 3D network."""
    last: dict[str, tuple[str, nn.Conv3d]] = {}
    for name, conv in model.network.named_modules():
        if isinstance(conv, nn.Conv3d) and conv.kernel_size[0] > 1:
            last[_stage_of_conv(name)] = name, conv
    found = {stage: named for stage, named in last.items() if stage.split()[-1] in stages}
    if not found:
        raise UserError(f"{model.recipe.model.title} has no convolution over time in {', '.join(stages)}")
    kernels = []
    for stage, (name, conv) in found.items():
        weight = conv.weight.detach().float().cpu().movedim(2, -1)  # [O, I, h, w, K]
        kernels.append(FixedKernels(name, stage, tap_shares(weight.flatten(0, -2))))
    return kernels


def _stage_of_conv(name: str) -> str:
    """Return the stage of a 3D network's convolution, such as "res4" or "slow res4".

    The blocks Mixed_3*, 4* and 5* of I3D with Inception have the resolution of res3, res4 and res5. Stems and
    lateral connections are in no stage: they get their first name, such as "stem".
    """
    parts = name.split(".")
    if parts[0] in ("slow", "fast"):
        return " ".join(parts[:2])
    return re.sub(r"^Mixed_(\d).*", r"res\1", parts[0])


def _filters(site: Site) -> torch.Tensor:
    """Return the temporal weights [filters, K] of a temporal module.

    There is one filter per channel, or one per pair of input and output channels.
    """
    module = site.module.get_submodule("temporal")
    if isinstance(module, TEI | TemporalAggregation):
        weight = module.weight  # [C, K]
    elif isinstance(module, TemporalConv):
        weight = module.conv.weight  # [C, C, K, 1]
        weight = weight.flatten(2).flatten(0, 1)
    else:
        assert isinstance(module, SideTaps) and isinstance(site.module, nn.Conv2d), type(module)
        sides = module.taps_conv.weight.unflatten(0, (len(module.ahead), -1))  # [K - 1, C', C, h, w]
        taps = dict(zip(module.ahead, sides, strict=True)) | {0: site.module.weight}
        weight = torch.stack([taps[ahead] for ahead in sorted(taps)], dim=-1).flatten(0, -2)
    return weight.detach().float().cpu()


def tap_shares(filters: torch.Tensor) -> torch.Tensor:
    """Return the shares |w_k| / Σ_j |w_j| of filters w [filters, K]. Leave out filters that are all zero."""
    sizes = filters.abs()
    total = sizes.sum(1, keepdim=True)
    return (sizes / total)[total[:, 0] > 0]

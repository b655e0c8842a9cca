"""Temporal kernels that are the same for all clips (fixed kernels), as in i3d, tconv, tei and tam-ibm.

`tanet show --against` draws fixed kernels next to the kernels Θ of TAM. TAM's kernels come from a softmax, so
they are non-negative and sum to 1. The weights w of a fixed kernel have no common scale. So each fixed kernel
is converted to shares |w_k| / Σ_j |w_j|, which are also non-negative and sum to 1.
(The paper's Figure 4 shows kernels of I3D, but the paper does not say how these kernels are scaled.)
"""

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
    if (name := model.recipe.model.temporal) not in FIXED:
        raise UserError(
            f"the temporal module '{name}' does not learn fixed kernels (the same for all clips): "
            f"choose a checkpoint with one of {', '.join(FIXED)}"
        )
    return [
        FixedKernels(site.name, site.stage, tap_shares(_filters(site)))
        for site in last_sites(model, stages=stages)
    ]


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

"""Temporal kernels that are the same for all clips: those of i3d, tconv, tei and tam-ibm.

`tanet show --against` draws them next to the kernels Θ of TAM. Their weights do not come from a softmax and
have no common scale, so each filter is converted to shares |w_k| / Σ_j |w_j|, which like Θ are non-negative
and sum to 1.
(The paper draws the kernels of I3D in its Figure 4, and does not say how it scales them.)
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
    """The kernels that the temporal module at one site uses for all clips."""

    site: str
    stage: str
    shares: torch.Tensor
    """|w_k| / Σ_j |w_j| of each filter: [filters, K]."""


def fixed_kernels(model: Checkpoint, *, stages: Sequence[str] = STAGES) -> list[FixedKernels]:
    """Return the fixed temporal kernels of a network, at the last site of each stage.

    Raises:
        UserError: the network's temporal modules learn no fixed kernels.
    """
    if (name := model.recipe.model.temporal) not in FIXED:
        raise UserError(
            f"the temporal module '{name}' learns no fixed kernel; those that do are {', '.join(FIXED)}"
        )
    return [
        FixedKernels(site.name, site.stage, tap_shares(_filters(site)))
        for site in last_sites(model, stages=stages)
    ]


def _filters(site: Site) -> torch.Tensor:
    """Return the temporal weights [filters, K] of a site: a filter per channel, or per pair of channels."""
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
    """Return |w_k| / Σ_j |w_j| for filters [filters, K]. Filters that are all zero are left out."""
    sizes = filters.abs()
    total = sizes.sum(1, keepdim=True)
    return (sizes / total)[total[:, 0] > 0]

"""Plug temporal modules into a 2D network: each becomes the child `temporal` of its site, run by a hook.

    before    site(temporal(x))        after    temporal(site(x))        beside    site(x) + temporal(x)

No parameter of the 2D network is renamed, so an ImageNet state dict loads before and after plugging.
"""

from collections.abc import Callable

import torch
from torch import nn

from tanet.errors import UserError
from tanet.models.insertion.sites import STAGES, Position, Site, find_sites


def plug(
    network: nn.Module,
    make: Callable[[int], nn.Module],
    *,
    position: Position = "b",
    stages: tuple[str, ...] = STAGES,
) -> nn.Module:
    """Plug a temporal module into every block of a 2D network, in place.

    Args:
        network: any 2D network that `find_sites` knows.
        make: builds the module for C channels, e.g. `lambda channels: TAM(channels, frames=8)`.
        position: place in the block; see sites.py.
        stages: the stages (res2 … res5) whose blocks get a module.

    Returns:
        The same network. The frames of a clip must now be consecutive rows of its batch.

    Raises:
        UserError: the structure, the position or a stage is unknown, or the network is plugged already.
    """
    return plug_at(
        network, find_sites(network, place=position, stages=stages), lambda site: make(site.channels)
    )


def plug_at(network: nn.Module, chosen: list[Site], make: Callable[[Site], nn.Module]) -> nn.Module:
    """Plug a module made by `make` into each of the chosen sites; otherwise the same as `plug`."""
    if not chosen:
        raise UserError(f"no block of {type(network).__name__} to plug in the chosen stages")
    plugged = next((name for name, _ in network.named_modules() if name.endswith(".temporal")), None)
    if plugged:
        raise UserError(f"the network has a temporal module already: {plugged}")
    made = [make(site) for site in chosen]  # make all before attaching any: a failure leaves no trace
    for site, temporal in zip(chosen, made, strict=True):
        site.module.add_module("temporal", temporal)
        if site.when == "before":
            site.module.register_forward_pre_hook(_before)
        else:
            site.module.register_forward_hook(_after if site.when == "after" else _beside)
    return network


# The hooks are module-level functions that look up the temporal module in the site that calls them.
# A closure would still call the original network's module after a deep copy.
def _before(site: nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
    return site.get_submodule("temporal")(inputs[0])


def _after(site: nn.Module, _: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
    return site.get_submodule("temporal")(output)


def _beside(site: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
    return output + site.get_submodule("temporal")(inputs[0])

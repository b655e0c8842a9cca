"""Insert ("plug") temporal modules into a 2D network.

A temporal module becomes the child `temporal` of an existing layer or block, which is called the site. A hook
of the site runs the temporal module before, after or beside the site:

    before    site(temporal(x))        after    temporal(site(x))        beside    site(x) + temporal(x)

No parameter of the 2D network is renamed, so an ImageNet state dict can be loaded before or after plugging.
There is one exception: GST and STM replace a convolution (`replace`). Their child `space` holds the
convolution, or the part of it that GST keeps.
"""

from collections.abc import Callable, Sequence

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
        make: builds a temporal module for C channels, e.g. `lambda channels: TAM(channels, frames=8)`.
        position: place of the temporal module in the block; see the table in sites.py.
        stages: the stages (res2 … res5) whose blocks get a temporal module.

    Returns:
        The same network. The frames of a clip must now be consecutive images of the input batch.

    Raises:
        UserError: the network's structure, the position or a stage is unknown, or the network already has
            temporal modules.
    """
    return plug_at(
        network, find_sites(network, place=position, stages=stages), lambda site: make(site.channels)
    )


def plug_at(network: nn.Module, chosen: list[Site], make: Callable[[Site], nn.Module]) -> nn.Module:
    """Insert a temporal module, built by `make`, at each site in `chosen`. Change and return the network."""
    return plug_all(network, [(chosen, make)])


def plug_all(
    network: nn.Module, groups: Sequence[tuple[list[Site], Callable[[Site], nn.Module]]]
) -> nn.Module:
    """Insert modules of several kinds. Change and return the network.

    Args:
        network: a plain 2D network.
        groups: the sites of each kind of module, and the function that builds the module of a site.

    Raises:
        UserError: a kind of module has no site, or the network already has temporal modules.
    """
    if not all(chosen for chosen, _ in groups):
        raise UserError(f"{type(network).__name__} has no block in the chosen stages: choose other stages")
    plugged = next((name for name, _ in network.named_modules() if name.endswith(".temporal")), None)
    if plugged:
        raise UserError(f"the network has a temporal module already: {plugged}; use a plain 2D network")
    # Build all modules before inserting any, so that an error leaves the network unchanged.
    made = [(site, make(site)) for chosen, make in groups for site in chosen]
    for site, temporal in made:
        temporal.train(network.training)  # a network in evaluation mode stays in it
        if site.when == "replace":
            parent, _, child = site.name.rpartition(".")
            setattr(network.get_submodule(parent), child, temporal)
            continue
        site.module.add_module("temporal", temporal)
        if site.when == "before":
            site.module.register_forward_pre_hook(_before)
        else:
            site.module.register_forward_hook(_after if site.when == "after" else _beside)
    return network


# These hooks do not store the temporal module, but look it up in the site that calls the hook.
# If a hook stored the module, a deep copy of the network would still run the original network's module.
def _before(site: nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
    return site.get_submodule("temporal")(inputs[0])


def _after(site: nn.Module, _: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
    return site.get_submodule("temporal")(output)


def _beside(site: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
    return output + site.get_submodule("temporal")(inputs[0])

"""Checks of the arguments of `convert.read` that fit only some files."""

from tanet.errors import UserError
from tanet.models.architectures import ARCHITECTURES
from tanet.recipes.network2d import Network2D
from tanet.recipes.network_settings import NetworkSettings


def check_given(
    this: str,
    model: NetworkSettings,
    *,
    own: bool,
    temporal: str | None,
    shift_div: int | None,
    attention: str | None,
    network: str | None,
    normalisation: str | None,
) -> None:
    """Raise UserError for arguments that do not fit the network in a file.

    Args:
        this: what the file is, as the beginning of a sentence.
        model: settings of its network.
        own: whether tanet wrote the file.
        temporal: argument of `read`, like all others; None if it was not given.
    """
    name = getattr(model, "temporal", "")
    if network is not None and (own or isinstance(model, Network2D)):
        raise UserError(f"{this}; network is only for a 3D network of another project")
    if normalisation is not None and own:
        raise UserError(f"{this}; normalisation is only for a network of another project")
    if temporal is not None and (own or name != temporal):
        raise UserError(f"{this}; it cannot be read as {temporal}")
    if shift_div is not None and (own or name != "tsm"):
        raise UserError(f"{this}; shift_div is only for a TSM of another project")
    if attention is not None and (own or getattr(model, "non_local", "none") != attention):
        raise UserError(f"{this}; attention is only for non-local blocks of another project")


def check_name(network: str | None) -> None:
    """Raise UserError for an unknown architecture. The message lists those of 3D networks."""
    if network is not None and network not in ARCHITECTURES:
        known = [name for name, found in ARCHITECTURES.items() if not isinstance(found.settings, Network2D)]
        raise UserError(f"unknown network '{network}': choose from {', '.join(known)}")

"""Starts from a network that is only a part of the new one, as in the papers of ECO and of region graphs.

3D ResNet-18 of ECO (c3d) → ECO-Lite, ECO    res3 to res5, the first kernel cut to 96 channels; the 2D layers
                                             start from image weights
ECO-Lite → ECO                               all but the classifier
I3D or NL I3D → I3D with a graph             all but the classifier
"""

import torch

from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.networks3d import ResNet3D
from tanet.recipes.networks_hybrid import ECO, RegionGraphNet

State = dict[str, torch.Tensor]
FIRST = "res3.0.conv2.weight"


def is_part(trained: NetworkSettings, model: NetworkSettings) -> bool:
    """Return whether a trained network can be a part of a new one."""
    if isinstance(trained, ECO) and isinstance(model, ECO):
        return (trained.variant, model.variant) in (("c3d", "lite"), ("c3d", "full"), ("lite", "full"))
    return isinstance(trained, ResNet3D) and isinstance(model, RegionGraphNet)


def from_part(state: State, own: State, trained: NetworkSettings) -> tuple[State, str]:
    """Return the weights of a new network that starts from a part of it, and a note.

    Args:
        state: weights of the part.
        own: weights of the new network. Those that the part lacks stay as they are.
        trained: settings of the part.
    """
    if isinstance(trained, ResNet3D):
        found = {f"video.{name}": tensor for name, tensor in state.items() if not name.startswith("head.")}
        return {**own, **found}, "the I3D in this network starts from it; graphs and classifier are new"
    shared = {name: tensor for name, tensor in state.items() if name in own and not name.startswith("head.")}
    channels = own[FIRST].shape[1]
    shared[FIRST] = shared[FIRST][:, :channels]
    return {**own, **shared}, f"starts from {trained.title}; layers that it lacks keep their weights"

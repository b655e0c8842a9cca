"""Normalisation of views on the device of the network.

x = (v - mean) / std    v: the pixel scaled to `range`; see recipes/input_spec.py
"""

from functools import cache

import torch

from tanet.recipes.input_spec import IMAGENET, InputSpec


def normalise(views: torch.Tensor, spec: InputSpec = IMAGENET) -> torch.Tensor:
    """Normalise RGB pixels or flow for a network: uint8 [..., C, H, W] → float32 [..., C, H, W]."""
    if spec.channels == "bgr":
        views = views.flip(-3)
    # An export traces with tensors of its own, which must not stay in the cache.
    constants = _constants.__wrapped__ if torch.compiler.is_exporting() else _constants
    mean, std = constants(views.device, spec)
    return (views.float() - mean) / std


@cache
@torch.inference_mode(False)
def _constants(device: torch.device, spec: InputSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation of pixel values on the device, each [C, 1, 1] or [1, 1, 1].

    The two tensors are cached, because copying them with every batch would make the host wait for the device.
    """
    low, high = spec.range
    mean, std = (torch.tensor(values, device=device)[:, None, None] for values in (spec.mean, spec.std))
    return 255 * (mean - low) / (high - low), 255 * std / (high - low)

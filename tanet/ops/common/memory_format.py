"""Memory formats of feature maps."""

import torch


def channels_last(x: torch.Tensor) -> torch.memory_format:
    """Return channels-last or channels-last-3d, depending on the number of axes."""
    return torch.channels_last if x.ndim == 4 else torch.channels_last_3d

"""ClipNetwork: base class of the networks that process all frames of a clip at once.

    clips [B, T, 3, H, W] → maps [B, C, T', H', W'] → averages over windows [B, P, F] → classifier

A network is trained with crops whose last map is as large as a window, so there is one window, P = 1. Larger
test crops give several windows. The classifier answers for each window, and the answers are averaged.
"""

from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from tanet.models.network import Network
from tanet.recipes.input_spec import InputSpec
from tanet.recipes.network_settings import NetworkSettings

RESIDUAL_STAGES = ("res2", "res3", "res4", "res5")


class ClipNetwork(Network):
    """Network for clips as a whole, [B, T, 3, H, W] → logits [B, classes].

    Subclasses define `windows` and the classifier `head`.

    Args:
        model: settings of the network.
        features: F, width of the classifier's input.
        classes: number of classes.
        input_spec: how clips must be normalised.
    """

    memory_format = torch.channels_last_3d
    average: Literal["softmax", "logits"] = "softmax"
    """Answers that are averaged over the windows in evaluation mode. softmax: probabilities, whose logarithms
    `forward` then returns. logits: logits, so that `head(features(clips))` are always the logits."""

    def __init__(self, model: NetworkSettings, *, features: int, classes: int, input_spec: InputSpec) -> None:
        super().__init__(frames=model.frames, input_spec=input_spec)
        self.dropout = nn.Dropout(model.dropout)
        self.head = nn.Linear(features, classes)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the stages and the names of their modules; see `Network`. These are a residual network's."""
        return {stage: (stage,) for stage in ("stem", *RESIDUAL_STAGES)}

    def run_stages(self, x: torch.Tensor) -> torch.Tensor:
        """Apply res2 to res5 of a residual network to feature maps [B, C, T, H, W]."""
        for stage in RESIDUAL_STAGES:
            x = self.get_submodule(stage)(x)
        return x

    def windows(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the features of each window: normalised clips [B, T, 3, H, W] → [B, P, F]."""
        raise NotImplementedError

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """Average the features over the windows: [B, T, 3, H, W] → [B, F].

        `head(features(clips))` are the logits if there is one window, or if logits are averaged.
        """
        return self.windows(clips).mean(1)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Classify clips: [B, T, 3, H, W] → [B, classes]."""
        self.check_clips(clips)
        logits = self.head(self.dropout(self.windows(clips)))  # [B, P, classes]
        if logits.shape[1] == 1:
            return logits[:, 0]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if self.training or self.average == "logits":
            return logits.mean(1)
        return logits.softmax(-1).mean(1).log()


def to_maps(clips: torch.Tensor) -> torch.Tensor:
    """Move the channels of clips before the frames: [B, T, 3, H, W] → [B, 3, T, H, W]."""
    return clips.transpose(1, 2)


def average_windows(maps: torch.Tensor, window: int) -> torch.Tensor:
    """Average maps over all frames and over windows of the frame: [B, C, T, H, W] → [B, P, C].

    Args:
        maps: the last feature maps of a network.
        window: side of the windows, which are placed with stride 1. 0, or a map that is smaller than a
            window, gives one window: the whole map.
    """
    if not window or window >= max(maps.shape[3:]):
        return maps.mean((2, 3, 4))[:, None]
    height, width = (min(window, side) for side in maps.shape[3:])
    return pool_windows(maps, (maps.shape[2], height, width))


def pool_windows(maps: torch.Tensor, window: tuple[int, int, int]) -> torch.Tensor:
    """Average maps over windows of T × H × W places, with stride 1: [B, C, T, H, W] → [B, P, C].

    A CPU has no such operation for 16-bit numbers: the averages are then computed in float32.
    """
    wide = maps.float() if maps.device.type == "cpu" and maps.dtype.itemsize == 2 else maps
    return F.avg_pool3d(wide, window, stride=1).to(maps.dtype).flatten(2).mT


def conv3d(
    channels: int,
    *,
    outputs: int,
    kernel: tuple[int, int, int],
    stride: tuple[int, int, int] = (1, 1, 1),
    groups: int = 1,
) -> nn.Conv3d:
    """Build a convolution without bias, padded so that stride 1 keeps the size. `kernel` is T × H × W."""
    padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
    return nn.Conv3d(channels, outputs, kernel, stride, padding, groups=groups, bias=False)


def initialize(network: nn.Module) -> None:
    """Draw the weights of all 3D convolutions of a network as He et al. (ICCV 2015) do, by their outputs."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)

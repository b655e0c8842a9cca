"""bLVNet-TAM: clips [B, T, 3, H, W] → logits [B, classes], a Big-Little ResNet on pairs of frames.

    x ← aggregate(x),    y[2i] = y[2i + 1] = fusion(relu(upsample(big(x[2i + 1])) + little(x[2i])))

The big branch sees every second frame at half the resolution, the little branch sees the frames between
them. Each stage ends with T/2 maps, which stand for both frames of a pair. A temporal aggregation
module (temporal/temporal_aggregation.py) mixes neighbouring frames in the stem, before res2 to res4, and in
every block of res5. res5 gets one map of each pair.

Fan, Chen, Kuehne, Pistoia, Cox: More Is Less: Learning Efficient Video Representations by Big-Little Network
and Depthwise Temporal Aggregation, NeurIPS 2019. Layers are as in the authors' code.
"""

import torch
from torch import nn
from torch.nn import functional as F

from tanet.models.backbones2d import big_little
from tanet.models.backbones2d.big_little import BigLittleStage, Bottleneck
from tanet.models.network import Network
from tanet.models.temporal.temporal_aggregation import TemporalAggregation
from tanet.recipes.input_spec import InputSpec
from tanet.recipes.networks_hybrid import BLVNet


class PairStage(BigLittleStage):
    """Stage on pairs of frames: [N·T, channels, H, W] → [N·T, outputs, H/stride, W/stride].

    Args:
        channels: channels of the input.
        outputs: channels of the output.
        blocks: number of blocks.
        stride: stride of the fusion.
        frames: T, frames per clip.
    """

    def __init__(self, channels: int, *, outputs: int, blocks: int, stride: int, frames: int) -> None:
        super().__init__(channels, outputs=outputs, blocks=blocks, stride=stride)
        self.temporal = TemporalAggregation(channels, frames=frames)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps; the class docstring gives the shapes."""
        x = self.temporal(x)
        return _to_both(self.merge(*_pairs(x)))


class TemporalBottleneck(Bottleneck):
    """Block of res5 whose residual, and whose shortcut if it has layers, sees neighbouring frames.

    Args:
        channels: channels of the input.
        outputs: channels of the output.
        stride: stride of the 3×3 convolution.
        frames: T/2, maps per clip.
    """

    def __init__(self, channels: int, *, outputs: int, stride: int = 1, frames: int) -> None:
        super().__init__(channels, outputs=outputs, stride=stride)
        self.temporal = TemporalAggregation(channels, frames=frames)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps [N·T/2, channels, H, W]."""
        mixed = self.temporal(x)
        shortcut = x if self.downsample is None else self.downsample(mixed)
        return F.relu(self.residual(mixed) + shortcut, inplace=True)


class BLVNetwork(Network):
    """bLVNet-TAM, built from the settings in a recipe."""

    def __init__(self, model: BLVNet, *, classes: int, input_spec: InputSpec) -> None:
        super().__init__(frames=model.frames, input_spec=input_spec)
        frames, depths = model.frames, big_little.DEPTHS[model.depth]
        big_little.add_stem(self)
        self.temporal = TemporalAggregation(64, frames=frames)
        self.layer1 = PairStage(64, outputs=256, blocks=depths[0], stride=2, frames=frames)
        self.layer2 = PairStage(256, outputs=512, blocks=depths[1], stride=2, frames=frames)
        self.layer3 = PairStage(512, outputs=1024, blocks=depths[2], stride=1, frames=frames)
        blocks = [TemporalBottleneck(1024, outputs=2048, stride=2, frames=frames // 2)]
        blocks += [TemporalBottleneck(2048, outputs=2048, frames=frames // 2) for _ in range(1, depths[3])]
        self.layer4 = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(model.dropout)
        self.head = nn.Linear(2048, classes)
        big_little.initialize(self)
        nn.init.normal_(self.head.weight, std=0.001)
        nn.init.zeros_(self.head.bias)

    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the stages and the names of their modules; see `Network`."""
        return {**big_little.STAGES, "stem": (*big_little.STAGES["stem"], "temporal")}

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """Average the features of the pairs: [B, T, 3, H, W] → [B, F], in float32 or wider."""
        return self._mean_over_pairs(self._pair_features(clips))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Average the logits of the pairs: [B, T, 3, H, W] → [B, classes], in float32 or wider."""
        return self._mean_over_pairs(self.head(self.dropout(self._pair_features(clips))))

    def _pair_features(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the features of each pair of frames: [B, T, 3, H, W] → [B·T/2, F]."""
        self.check_clips(clips)
        x = self.temporal(big_little.first_layer(self, clips.flatten(0, 1)))
        x = _to_both(big_little.merge_stem(self, *_pairs(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.layer4(x[1::2]).mean((2, 3))

    def _mean_over_pairs(self, rows: torch.Tensor) -> torch.Tensor:
        precision = torch.promote_types(rows.dtype, torch.float32)
        return rows.unflatten(0, (-1, self.frames // 2)).mean(1, dtype=precision)


def _pairs(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the frames of the big branch and those of the little branch: [N·T, …] → 2 × [N·T/2, …]."""
    return x[1::2], x[0::2]


def _to_both(x: torch.Tensor) -> torch.Tensor:
    """Repeat the map of each pair for both of its frames: [N·T/2, …] → [N·T, …]."""
    return x.repeat_interleave(2, 0)

"""ECO: clips [B, T, 3, H, W] → logits [B, classes], 2D layers for each frame, then 3D layers for the clip.

    clips → BN-Inception up to 3c [B·T, 96, H/8, W/8] → 3D ResNet-18 from res3 on [B, 512] ┐
                              └ full: rest of BN-Inception → mean over frames [B, 1024]    ┴ classifier

Zolfaghari, Singh and Brox, "ECO: Efficient Convolutional Network for Online Video Understanding", ECCV
2018, with the layers of the authors' code. Convolutions have biases. A 3D
block adds the shortcut to its second convolution, and returns the sum both as it is and after BatchNorm and
ReLU. The next block convolves the activations; its shortcut is the sum, or, with stride 2, a 3×3×3
convolution of the activations. `c3d` is the 3D ResNet-18 whose weights initialize the 3D layers.
"""

import torch
from torch import nn
from torch.nn import functional as F

from tanet.models.backbones2d.bn_inception import (
    BLOCKS,
    BNInception,
    InceptionBlock,
    add_conv,
    add_stem,
    run_conv,
    run_stem,
)
from tanet.models.network import Network
from tanet.ops import as_clips
from tanet.recipes.input_spec import InputSpec
from tanet.recipes.networks_hybrid import ECO

FEATURES_2D, FEATURES_3D = 1024, 512
MIDDLE = 96  # channels of the maps that the 3D layers get


def _conv(channels: int, outputs: int, *, stride: int = 1) -> nn.Conv3d:
    return nn.Conv3d(channels, outputs, 3, stride, padding=1)


class SumBlock(nn.Module):
    """Residual block on activations: [B, channels, T, H, W] → sum and activations [B, outputs, T', H', W'].

    Args:
        channels: channels of the input.
        outputs: channels of the output.
        stride: stride over time and space. A stride of 2 makes the shortcut a convolution.
    """

    def __init__(self, channels: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        # Declared first, because `fold_batch_norms` folds a BatchNorm into the convolution declared before
        # it.
        self.norm = nn.BatchNorm3d(outputs)
        self.conv1 = _conv(channels, outputs, stride=stride)
        self.norm1 = nn.BatchNorm3d(outputs)
        self.conv2 = _conv(outputs, outputs)
        self.shortcut = _conv(channels, outputs, stride=stride) if stride > 1 else None

    def forward(self, active: torch.Tensor, total: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the activations and the sum that the next block gets.

        Args:
            active: activations of the block before.
            total: sum of the block before, from which its activations were computed.
        """
        y = self.conv2(F.relu(self.norm1(self.conv1(active)), inplace=True))
        total = y + (total if self.shortcut is None else self.shortcut(active))
        return F.relu(self.norm(total)), total


class FirstBlock(nn.Module):
    """One convolution in the place of the first block of res3: maps → activations and the convolution."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm3d(outputs)
        self.conv2 = _conv(channels, outputs)

    def forward(self, active: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the activations and the sum that the next block gets."""
        total = self.conv2(active)
        return F.relu(self.norm(total)), total


class TwoDimensionalLayers(nn.Module):
    """BN-Inception up to the second convolution of 3c: images [N, 3, H, W] → maps [N, 96, H/8, W/8]."""

    def __init__(self) -> None:
        super().__init__()
        add_stem(self)
        self.inception_3a = InceptionBlock(192, block="3a")
        self.inception_3b = InceptionBlock(256, block="3b")
        self.inception_3c = nn.Module()
        add_conv(self.inception_3c, "double_3x3_reduce", 320, 64)
        add_conv(self.inception_3c, "double_3x3_1", 64, MIDDLE, kernel=3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Transform images; the class docstring gives the shapes."""
        x = self.inception_3b(self.inception_3a(run_stem(self, images)))
        return run_conv(
            self.inception_3c, "double_3x3_1", run_conv(self.inception_3c, "double_3x3_reduce", x)
        )


class AllLayers(BNInception):
    """BN-Inception without classifier, which also returns the maps that the 3D layers get."""

    def __init__(self) -> None:
        super().__init__(classes=1)
        self.fc = nn.Identity()

    def both(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute maps and features of images [N, 3, H, W]: [N, 96, H/8, W/8] and [N, 1024]."""
        block_3a, block_3b, block_3c, *last = (self.block(name) for name in BLOCKS)
        x = block_3b(block_3a(run_stem(self, images)))
        maps = run_conv(block_3c, "double_3x3_1", run_conv(block_3c, "double_3x3_reduce", x))
        single = run_conv(block_3c, "3x3", run_conv(block_3c, "3x3_reduce", x))
        x = torch.cat((single, run_conv(block_3c, "double_3x3_2", maps), block_3c.pool(x)), 1)
        for block in last:
            x = block(x)
        return maps, self.avgpool(x).flatten(1)


class ECONetwork(Network):
    """ECO-Lite, ECO, or the 3D ResNet-18 that initializes them, built from the settings in a recipe."""

    memory_format = torch.channels_last_3d

    def __init__(self, model: ECO, *, classes: int, input_spec: InputSpec) -> None:
        super().__init__(frames=model.frames, input_spec=input_spec)
        self.variant = model.variant
        if model.variant == "c3d":
            self.norm1 = nn.BatchNorm3d(64)  # declared before `conv1`, as in SumBlock
            self.conv1 = nn.Conv3d(3, 64, (3, 7, 7), 2, padding=(1, 3, 3))
            self.res2 = _stage(64, 64, stride=1)
            self.res3 = _stage(64, 128, stride=2)
        else:
            self.layers2d = AllLayers() if model.variant == "full" else TwoDimensionalLayers()
            self.res3 = nn.ModuleList((FirstBlock(MIDDLE, 128), SumBlock(128, 128)))
        self.res4 = _stage(128, 256, stride=2)
        self.res5 = _stage(256, 512, stride=2)
        self.dropout, self.dropout_2d = nn.Dropout(model.dropout), nn.Dropout(model.dropout_2d)
        features = FEATURES_3D + (FEATURES_2D if model.variant == "full" else 0)
        self.head = nn.Linear(features, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def stages(self) -> dict[str, tuple[str, ...]]:
        """Return the stages and the names of their modules; see `Network`."""
        later = {"res4": ("res4",), "res5": ("res5",)}
        if self.variant == "c3d":
            return {"stem": ("conv1", "norm1"), "res2": ("res2",), "res3": ("res3",), **later}
        return {"stem": ("layers2d",), "res3": ("res3",), **later}

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the input of the classifier: [B, T, 3, H, W] → [B, F], those of 2D layers first."""
        self.check_clips(clips)
        if self.variant == "c3d":
            total = self.conv1(clips.transpose(1, 2))
            return self.dropout(self._run_3d(F.relu(self.norm1(total), inplace=True), total))
        images = clips.flatten(0, 1)
        if not isinstance(self.layers2d, AllLayers):
            return self.dropout(self._after_2d(self.layers2d(images)))
        maps, features = self.layers2d.both(images)
        features = self.dropout_2d(features).unflatten(0, (-1, self.frames)).mean(1)
        return torch.cat((features, self.dropout(self._after_2d(maps))), 1)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Classify clips: [B, T, 3, H, W] → logits [B, classes]."""
        return self.head(self.features(clips))

    def _after_2d(self, maps: torch.Tensor) -> torch.Tensor:
        """Apply the 3D layers to the maps of frames: [B·T, C, H, W] → features [B, 512]."""
        clips = as_clips(maps, self.frames).transpose(1, 2)  # [B, C, T, H, W]
        return self._run_3d(clips, clips)

    def _run_3d(self, active: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
        """Apply the 3D layers to activations and their sums [B, C, T, H, W]: features [B, 512]."""
        for stage in ("res2", "res3", "res4", "res5"):
            for block in getattr(self, stage, ()):
                active, total = block(active, total)
        return active.mean((2, 3, 4))


def _stage(channels: int, outputs: int, *, stride: int) -> nn.ModuleList:
    return nn.ModuleList((SumBlock(channels, outputs, stride=stride), SumBlock(outputs, outputs)))

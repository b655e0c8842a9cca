"""ShuffleNetV2 ×1.0: images [N, 3, H, W] → logits [N, classes].

    y = shuffle(branch1(left), branch2(right))

In a unit with stride 1, left and right are the two halves of the channels of the input x, and branch1 is the
identity. In a unit with stride 2, left and right are both equal to x. The shuffle interleaves the output
channels of the two branches, so that each half of the next unit's input has channels from both branches.

Ma et al., "ShuffleNet V2: Practical guidelines for efficient CNN architecture design", ECCV 2018,
https://arxiv.org/abs/1807.11164. Parameters are named as in torchvision.
"""

import torch
from torch import nn


def _conv_bn(
    channels: int, *, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    conv = nn.Conv2d(channels, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


class InvertedResidual(nn.Module):
    """ShuffleNet unit: [N, C, H, W] → [N, outputs, H/stride, W/stride]. If stride is 1, outputs must be C."""

    def __init__(self, channels: int, *, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        inputs = half if stride == 1 else channels
        self.stride = stride
        self.branch1 = nn.Sequential()
        if stride != 1:
            self.branch1 = nn.Sequential(
                *_conv_bn(inputs, outputs=inputs, kernel=3, stride=stride, groups=inputs),
                *_conv_bn(inputs, outputs=half, kernel=1),
                nn.ReLU(inplace=True),
            )
        self.branch2 = nn.Sequential(
            *_conv_bn(inputs, outputs=half, kernel=1),
            nn.ReLU(inplace=True),
            *_conv_bn(half, outputs=half, kernel=3, stride=stride, groups=half),
            *_conv_bn(half, outputs=half, kernel=1),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps; the class docstring gives the shapes."""
        left, right = x.chunk(2, dim=1) if self.stride == 1 else (x, x)
        pairs = torch.stack((self.branch1(left), self.branch2(right)), dim=2)  # N C/2 2 H W
        return pairs.flatten(1, 2)  # N C H W


def _stage(channels: int, *, outputs: int, depth: int) -> nn.Sequential:
    rest = (InvertedResidual(outputs, outputs=outputs, stride=1) for _ in range(1, depth))
    return nn.Sequential(InvertedResidual(channels, outputs=outputs, stride=2), *rest)


class ShuffleNetV2(nn.Module):
    """ShuffleNetV2: a 3×3 stem, three stages that each halve H and W, a 1×1 convolution and a classifier."""

    def __init__(self, *, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(*_conv_bn(3, outputs=24, kernel=3, stride=2), nn.ReLU(inplace=True))
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stage2 = _stage(24, outputs=116, depth=4)
        self.stage3 = _stage(116, outputs=232, depth=8)
        self.stage4 = _stage(232, outputs=464, depth=4)
        self.conv5 = nn.Sequential(*_conv_bn(464, outputs=1024, kernel=1), nn.ReLU(inplace=True))
        self.fc = nn.Linear(1024, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify images: [N, 3, H, W] → logits [N, classes]."""
        x = self.maxpool(self.conv1(images))  # N 24 H/4 W/4
        x = self.stage2(x)  # N 116 H/8 W/8
        x = self.stage3(x)  # N 232 H/16 W/16
        x = self.stage4(x)  # N 464 H/32 W/32
        x = self.conv5(x).mean((2, 3))  # N 1024
        return self.fc(x)  # N classes


def shufflenet_v2_x1_0(*, classes: int = 1000) -> ShuffleNetV2:
    """Build ShuffleNetV2 ×1.0."""
    return ShuffleNetV2(classes=classes)

"""ResNet and ResNeXt: images [N, 3, H, W] → logits [N, classes].

    y = relu(shortcut(x) + residual(x))

He et al., "Deep residual learning for image recognition", CVPR 2016, https://arxiv.org/abs/1512.03385
Xie et al., "Aggregated residual transformations for deep neural networks", CVPR 2017,
https://arxiv.org/abs/1611.05431

Parameters are named as in torchvision. Each ReLU is a separate module, so that a temporal module after the
ReLU can compute the ReLU itself (fusion/fuse_tam.py). The stride of a bottleneck is in its 3×3 convolution,
not in its first 1×1 convolution. This variant is known as ResNet v1.5. torchvision uses the same variant, and
the published ImageNet weights were trained with this variant.
"""

import torch
from torch import nn


def _conv(channels: int, *, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False)


def _downsample(channels: int, *, outputs: int, stride: int) -> nn.Sequential | None:
    """Build layers that give the shortcut the residual's shape. Return None if the shapes already agree."""
    if stride == 1 and channels == outputs:
        return None
    return nn.Sequential(_conv(channels, outputs=outputs, kernel=1, stride=stride), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """Residual block with two 3×3 convolutions: [N, C, H, W] → [N, width, H/stride, W/stride]."""

    expansion = 1

    def __init__(self, channels: int, *, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = _conv(channels, outputs=width, kernel=3, stride=stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _conv(width, outputs=width, kernel=3)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu1, self.relu2 = nn.ReLU(inplace=True), nn.ReLU(inplace=True)
        self.downsample = _downsample(channels, outputs=width, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps; the class docstring gives the shapes."""
        residual = self.relu1(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu2(shortcut + residual)


class Bottleneck(nn.Module):
    """Residual block with 1×1, 3×3 and 1×1 convolutions: [N, C, H, W] → [N, 4·width, H/stride, W/stride]."""

    expansion = 4
    groups = 1
    group_width = 64  # channels per group of the 3×3 convolution in the first stage

    def __init__(self, channels: int, *, width: int, stride: int = 1) -> None:
        super().__init__()
        inner, outputs = width * self.groups * self.group_width // 64, width * self.expansion
        self.conv1 = _conv(channels, outputs=inner, kernel=1)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = _conv(inner, outputs=inner, kernel=3, stride=stride, groups=self.groups)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = _conv(inner, outputs=outputs, kernel=1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu1, self.relu2, self.relu3 = (nn.ReLU(inplace=True) for _ in range(3))
        self.downsample = _downsample(channels, outputs=outputs, stride=stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps; the class docstring gives the shapes."""
        residual = self.relu1(self.bn1(self.conv1(x)))
        residual = self.relu2(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.relu3(shortcut + residual)


class Bottleneck32x4d(Bottleneck):
    """Bottleneck of ResNeXt. The 3×3 convolution has 32 groups, each with 4 channels in the first stage."""

    groups = 32
    group_width = 4


Block = BasicBlock | Bottleneck


def _layer(block: type[Block], *, channels: int, width: int, depth: int, stride: int) -> nn.Sequential:
    rest = (block(width * block.expansion, width=width) for _ in range(1, depth))
    return nn.Sequential(block(channels, width=width, stride=stride), *rest)


class ResNet(nn.Module):
    """ResNet: a stem with a 7×7 convolution, four layers of residual blocks, and a classifier.

    `depths` gives the number of blocks in each layer. Each layer except the first halves H and W.
    """

    def __init__(
        self, block: type[Block], *, depths: tuple[int, int, int, int], classes: int, width: int = 64
    ) -> None:
        super().__init__()
        w, e = width, block.expansion
        self.conv1 = _conv(3, outputs=w, kernel=7, stride=2)
        self.bn1 = nn.BatchNorm2d(w)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _layer(block, channels=w, width=w, depth=depths[0], stride=1)
        self.layer2 = _layer(block, channels=w * e, width=2 * w, depth=depths[1], stride=2)
        self.layer3 = _layer(block, channels=2 * w * e, width=4 * w, depth=depths[2], stride=2)
        self.layer4 = _layer(block, channels=4 * w * e, width=8 * w, depth=depths[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8 * w * e, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify images: [N, 3, H, W] → logits [N, classes]."""
        x = self.relu(self.bn1(self.conv1(images)))  # N C H/2 W/2
        x = self.layer1(self.maxpool(x))  # N C H/4 W/4
        x = self.layer2(x)  # N 2C H/8 W/8
        x = self.layer3(x)  # N 4C H/16 W/16
        x = self.layer4(x)  # N 8C H/32 W/32
        x = self.avgpool(x).flatten(1)  # N 8C
        return self.fc(x)  # N classes


def resnet18(*, classes: int = 1000) -> ResNet:
    """Build ResNet-18."""
    return ResNet(BasicBlock, depths=(2, 2, 2, 2), classes=classes)


def resnet18_w16(*, classes: int = 1000) -> ResNet:
    """Build ResNet-18 with a quarter of the channels, for CPU experiments. It has no ImageNet weights."""
    return ResNet(BasicBlock, depths=(2, 2, 2, 2), classes=classes, width=16)


def resnet34(*, classes: int = 1000) -> ResNet:
    """Build ResNet-34."""
    return ResNet(BasicBlock, depths=(3, 4, 6, 3), classes=classes)


def resnet50(*, classes: int = 1000) -> ResNet:
    """Build ResNet-50."""
    return ResNet(Bottleneck, depths=(3, 4, 6, 3), classes=classes)


def resnet101(*, classes: int = 1000) -> ResNet:
    """Build ResNet-101."""
    return ResNet(Bottleneck, depths=(3, 4, 23, 3), classes=classes)


def resnet152(*, classes: int = 1000) -> ResNet:
    """Build ResNet-152."""
    return ResNet(Bottleneck, depths=(3, 8, 36, 3), classes=classes)


def resnext50_32x4d(*, classes: int = 1000) -> ResNet:
    """Build ResNeXt-50 32×4d."""
    return ResNet(Bottleneck32x4d, depths=(3, 4, 6, 3), classes=classes)

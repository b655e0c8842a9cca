"""MobileNetV2 of width 1.0: images [N, 3, H, W] → logits [N, classes].

    y = x + project(depthwise(expand(x)))        x is added only if x and y have the same shape

Sandler et al., "MobileNetV2: Inverted residuals and linear bottlenecks", CVPR 2018,
https://arxiv.org/abs/1801.04381. Parameters are named as in torchvision.
"""

import torch
from torch import nn
from torch.nn import functional as F

# One row per stage (Table 2 of the paper): expansion, channels, number of blocks, stride of the first block.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _conv_bn_relu6(
    channels: int, *, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """Inverted residual block: [N, C, H, W] → [N, outputs, H/stride, W/stride].

    The first 1×1 convolution multiplies the number of channels by `expansion`. A depthwise 3×3 convolution
    follows. The last 1×1 convolution maps to `outputs` channels. If `expansion` is 1, the block has no first
    1×1 convolution.
    """

    def __init__(self, channels: int, *, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = channels * expansion
        expand = [_conv_bn_relu6(channels, outputs=inner, kernel=1)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *expand,
            _conv_bn_relu6(inner, outputs=inner, kernel=3, stride=stride, groups=inner),
            nn.Conv2d(inner, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.use_res_connect = stride == 1 and channels == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps; the class docstring gives the shapes."""
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MobileNetV2(nn.Module):
    """MobileNetV2: a 3×3 stem, the blocks of STAGES, a 1×1 convolution and a classifier.

    The child `features` holds all layers before the pooling and reduces H and W to 1/32.
    """

    def __init__(self, *, classes: int) -> None:
        super().__init__()
        channels = 32
        features: list[nn.Module] = [_conv_bn_relu6(3, outputs=channels, kernel=3, stride=2)]
        for expansion, outputs, depth, first_stride in STAGES:
            for stride in (first_stride, *[1] * (depth - 1)):
                block = InvertedResidual(channels, outputs=outputs, expansion=expansion, stride=stride)
                features.append(block)
                channels = outputs
        features.append(_conv_bn_relu6(channels, outputs=1280, kernel=1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify images: [N, 3, H, W] → logits [N, classes]."""
        x = self.features(images)  # N 1280 H/32 W/32
        x = F.adaptive_avg_pool2d(x, 1).flatten(1)  # N 1280
        return self.classifier(x)  # N classes


def mobilenet_v2(*, classes: int = 1000) -> MobileNetV2:
    """Build MobileNetV2."""
    return MobileNetV2(classes=classes)

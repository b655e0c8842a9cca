"""Big-Little ResNet (bLResNet): images [N, 3, H, W] → logits [N, classes].

    y = fusion(relu(upsample(big(x)) + little(x)))

Each stage has two branches: `big` is deep and sees half the resolution, `little` is shallow and narrow and
sees all of it. Chen et al., "Big-Little Net: An Efficient Multi-Scale Feature Representation for Visual and
Speech Recognition", ICLR 2019, https://arxiv.org/abs/1807.03848, with α = 2 and β = 4. Parameters are named
as in the authors' code. bLVNet-TAM (models/video_backbones/blvnet.py) is built from the same branches.
"""

import torch
from torch import nn
from torch.nn import functional as F

ALPHA, BETA = 2, 4
"""The little branch has 1/α of the channels, and 1/β of the blocks, less one."""
EXPANSION = 4
BRANCHES = ("b_conv0", "bn_b0", "l_conv0", "bn_l0", "l_conv1", "bn_l1", "l_conv2", "bn_l2")
STAGES = {
    "stem": ("conv1", "bn1"),
    "res2": (*BRANCHES, "bl_init", "bn_bl_init", "layer1"),
    "res3": ("layer2",),
    "res4": ("layer3",),
    "res5": ("layer4",),
}
"""Stages and the names of their modules, from input to output."""
DEPTHS = {50: (3, 4, 6, 3), 101: (4, 8, 18, 3)}


def _conv(channels: int, *, outputs: int, kernel: int = 1, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, outputs, kernel, stride, padding=kernel // 2, bias=False)


class Bottleneck(nn.Module):
    """Residual block: [N, channels, H, W] → [N, outputs, H/stride, W/stride].

    Args:
        channels: channels of the input.
        outputs: channels of the output; the block has outputs / 4 channels inside.
        stride: stride of the 3×3 convolution. The shortcut is pooled, not strided.
        last_relu: whether a ReLU follows the addition.
    """

    def __init__(self, channels: int, *, outputs: int, stride: int = 1, last_relu: bool = True) -> None:
        super().__init__()
        inner = outputs // EXPANSION
        self.conv1 = _conv(channels, outputs=inner)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = _conv(inner, outputs=inner, kernel=3, stride=stride)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = _conv(inner, outputs=outputs)
        self.bn3 = nn.BatchNorm2d(outputs)
        layers: list[nn.Module] = []
        if stride > 1:
            layers.append(nn.AvgPool2d(3, stride=stride, padding=1))
        if channels != outputs:
            layers += [_conv(channels, outputs=outputs), nn.BatchNorm2d(outputs)]
        self.downsample = nn.Sequential(*layers) if layers else None
        self.last_relu = last_relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps; the class docstring gives the shapes."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.residual(x) + shortcut
        return F.relu(y, inplace=True) if self.last_relu else y

    def residual(self, x: torch.Tensor) -> torch.Tensor:
        """Compute what is added to the shortcut."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return self.bn3(self.conv3(y))


class BigLittleStage(nn.Module):
    """Two branches and their fusion: [N, channels, H, W] → [N, outputs, H/stride, W/stride].

    Args:
        channels: channels of the input.
        outputs: channels of the output.
        blocks: number of blocks of the stage: all but one in the big branch, the last one in the fusion.
        stride: stride of the fusion.
    """

    def __init__(self, channels: int, *, outputs: int, blocks: int, stride: int) -> None:
        super().__init__()
        big = [Bottleneck(channels, outputs=outputs, stride=2, last_relu=blocks > 2)]
        big += [Bottleneck(outputs, outputs=outputs, last_relu=n < blocks - 2) for n in range(1, blocks - 1)]
        narrow = outputs // ALPHA
        little = [Bottleneck(channels, outputs=narrow)]
        little += [Bottleneck(narrow, outputs=narrow) for _ in range(1, max(1, blocks // BETA - 1))]
        self.big, self.little = nn.Sequential(*big), nn.Sequential(*little)
        self.little_e = nn.Sequential(_conv(narrow, outputs=outputs), nn.BatchNorm2d(outputs))
        self.fusion = nn.Sequential(Bottleneck(outputs, outputs=outputs, stride=stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps; the class docstring gives the shapes."""
        return self.merge(x, x)

    def merge(self, big: torch.Tensor, little: torch.Tensor) -> torch.Tensor:
        """Run the branches, each on its own input, and fuse their outputs."""
        fine = self.little_e(self.little(little))
        coarse = F.interpolate(self.big(big), size=fine.shape[2:], mode="nearest")
        return self.fusion(F.relu(coarse + fine, inplace=True))


class BigLittleResNet(nn.Module):
    """Big-Little ResNet: a stem with two branches, three stages with two branches, and res5.

    Args:
        depth: 50 or 101.
        classes: number of classes.
    """

    def __init__(self, *, depth: int, classes: int) -> None:
        super().__init__()
        add_stem(self)
        depths = DEPTHS[depth]
        self.layer1 = BigLittleStage(64, outputs=256, blocks=depths[0], stride=2)
        self.layer2 = BigLittleStage(256, outputs=512, blocks=depths[1], stride=2)
        self.layer3 = BigLittleStage(512, outputs=1024, blocks=depths[2], stride=1)
        self.layer4 = make_last_stage(depths[3])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2048, classes)
        initialize(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify images: [N, 3, H, W] → logits [N, classes]."""
        x = first_layer(self, images)  # N 64 H/2 W/2
        x = merge_stem(self, x, x)  # N 64 H/4 W/4
        x = self.layer3(self.layer2(self.layer1(x)))  # N 1024 H/16 W/16
        return self.fc(self.avgpool(self.layer4(x)).flatten(1))  # N classes


def make_last_stage(blocks: int) -> nn.Sequential:
    """Build res5: [N, 1024, H, W] → [N, 2048, H/2, W/2]."""
    first = Bottleneck(1024, outputs=2048, stride=2)
    return nn.Sequential(first, *(Bottleneck(2048, outputs=2048) for _ in range(blocks - 1)))


def add_stem(network: nn.Module) -> None:
    """Add the layers before the stages to a network."""
    layers = {
        ("conv1", "bn1"): _conv(3, outputs=64, kernel=7, stride=2),
        ("b_conv0", "bn_b0"): _conv(64, outputs=64, kernel=3, stride=2),
        ("l_conv0", "bn_l0"): _conv(64, outputs=64 // ALPHA, kernel=3),
        ("l_conv1", "bn_l1"): _conv(64 // ALPHA, outputs=64 // ALPHA, kernel=3, stride=2),
        ("l_conv2", "bn_l2"): _conv(64 // ALPHA, outputs=64),
        ("bl_init", "bn_bl_init"): _conv(64, outputs=64),
    }
    for (conv, norm), layer in layers.items():
        network.add_module(conv, layer)
        network.add_module(norm, nn.BatchNorm2d(layer.out_channels))


def first_layer(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Apply the first convolution: images [N, 3, H, W] → [N, 64, H/2, W/2]."""
    return F.relu(_run(network, "conv1", "bn1", images), inplace=True)


def merge_stem(network: nn.Module, big: torch.Tensor, little: torch.Tensor) -> torch.Tensor:
    """Run the two branches of the stem, each on its own input: [N, 64, H/2, W/2] → [N, 64, H/4, W/4]."""
    coarse = _run(network, "b_conv0", "bn_b0", big)
    fine = F.relu(_run(network, "l_conv0", "bn_l0", little), inplace=True)
    fine = F.relu(_run(network, "l_conv1", "bn_l1", fine), inplace=True)
    x = F.relu(coarse + _run(network, "l_conv2", "bn_l2", fine), inplace=True)
    return F.relu(_run(network, "bl_init", "bn_bl_init", x), inplace=True)


def _run(network: nn.Module, conv: str, norm: str, x: torch.Tensor) -> torch.Tensor:
    return network.get_submodule(norm)(network.get_submodule(conv)(x))


def initialize(network: nn.Module) -> None:
    """Draw the weights of the convolutions, and let each block start as its shortcut."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)


def blresnet50(*, classes: int = 1000) -> BigLittleResNet:
    """Build bLResNet-50."""
    return BigLittleResNet(depth=50, classes=classes)


def blresnet101(*, classes: int = 1000) -> BigLittleResNet:
    """Build bLResNet-101."""
    return BigLittleResNet(depth=101, classes=classes)

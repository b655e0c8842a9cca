"""BN-Inception: images [N, 3, H, W] → logits [N, classes]. H and W must be multiples of 32.

    y = concatenate(1×1, 1×1 → 3×3, 1×1 → 3×3 → 3×3, pool → 1×1)

Each convolution has a bias and is followed by a BatchNorm and a ReLU. Ioffe and Szegedy, "Batch
Normalization", ICML 2015, https://arxiv.org/abs/1502.03167. The network of TSN, TRN and ECO, with the
layers and names of its Caffe weights: `inception_3a.double_3x3_1` here is `inception_3a_double_3x3_1` there.
Those weights expect BGR values from 0 to 255 minus a mean. As in Caffe, pooling rounds sizes up.
"""

import torch
from torch import nn

# Block → output channels: 1×1; 1×1 and 3×3; 1×1, 3×3 and 3×3; 1×1 after pooling. 0: no such convolution.
BLOCKS: dict[str, tuple[int, tuple[int, int], tuple[int, int, int], int]] = {
    "3a": (64, (64, 64), (64, 96, 96), 32),
    "3b": (64, (64, 96), (64, 96, 96), 64),
    "3c": (0, (128, 160), (64, 96, 96), 0),
    "4a": (224, (64, 96), (96, 128, 128), 128),
    "4b": (192, (96, 128), (96, 128, 128), 128),
    "4c": (160, (128, 160), (128, 160, 160), 128),
    "4d": (96, (128, 192), (160, 192, 192), 128),
    "4e": (0, (128, 192), (192, 256, 256), 0),
    "5a": (352, (192, 320), (160, 224, 224), 128),
    "5b": (352, (192, 320), (192, 224, 224), 128),
}
REDUCING = ("3c", "4e")
"""Blocks with stride 2."""


def add_conv(
    network: nn.Module, name: str, channels: int, outputs: int, *, kernel: int = 1, stride: int = 1
) -> None:
    """Add a convolution, its BatchNorm and its ReLU to a network, as `name`, `name`_bn and `name`_relu."""
    network.add_module(name, nn.Conv2d(channels, outputs, kernel, stride, padding=kernel // 2))
    network.add_module(f"{name}_bn", nn.BatchNorm2d(outputs))
    network.add_module(f"{name}_relu", nn.ReLU(inplace=True))


def run_conv(network: nn.Module, name: str, x: torch.Tensor) -> torch.Tensor:
    """Apply the three layers that `add_conv` has added: [N, channels, H, W] → [N, outputs, H', W']."""
    for layer in (name, f"{name}_bn", f"{name}_relu"):
        x = network.get_submodule(layer)(x)
    return x


class InceptionBlock(nn.Module):
    """Four branches whose outputs are concatenated: [N, channels, H, W] → [N, outputs, H/stride, W/stride].

    Args:
        channels: channels of the input.
        block: name of the block, a key of BLOCKS.
    """

    def __init__(self, channels: int, *, block: str) -> None:
        super().__init__()
        plain, single, double, projected = BLOCKS[block]
        stride = 2 if block in REDUCING else 1
        self.branches: list[list[str]] = []
        branches: list[list[tuple[str, int, int]]] = [
            [("1x1", plain, 1)],
            [("3x3_reduce", single[0], 1), ("3x3", single[1], 3)],
            [
                ("double_3x3_reduce", double[0], 1),
                ("double_3x3_1", double[1], 3),
                ("double_3x3_2", double[2], 3),
            ],
            [("pool_proj", projected, 1)],
        ]
        for branch in branches:
            inputs, names = channels, []
            for name, outputs, kernel in branch:
                if outputs:
                    step = stride if name in ("3x3", "double_3x3_2") else 1
                    add_conv(self, name, inputs, outputs, kernel=kernel, stride=step)
                    names.append(name)
                inputs = outputs
            self.branches.append(names)
        self.pool: nn.Module = nn.AvgPool2d(3, stride=1, padding=1)
        if stride == 2:
            self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        elif block == "5b":
            self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.out_channels = plain + single[1] + double[2] + (projected or channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps; the class docstring gives the shapes."""
        outputs = []
        for number, names in enumerate(self.branches):
            if number == 0 and not names:
                continue
            y = self.pool(x) if number == 3 else x
            for name in names:
                y = run_conv(self, name, y)
            outputs.append(y)
        return torch.cat(outputs, 1)


class BNInception(nn.Module):
    """BN-Inception: a stem of three convolutions, ten Inception blocks and a classifier.

    Args:
        classes: number of classes.
    """

    def __init__(self, *, classes: int) -> None:
        super().__init__()
        add_stem(self)
        channels = 192
        for name in BLOCKS:
            block = InceptionBlock(channels, block=name)
            self.add_module(f"inception_{name}", block)
            channels = block.out_channels
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify images: [N, 3, H, W] → logits [N, classes]."""
        x = run_stem(self, images)  # N 192 H/8 W/8
        for name in BLOCKS:
            x = self.block(name)(x)
        return self.fc(self.avgpool(x).flatten(1))  # N classes

    def block(self, name: str) -> InceptionBlock:
        """Return the Inception block with this name, a key of BLOCKS."""
        block = self.get_submodule(f"inception_{name}")
        assert isinstance(block, InceptionBlock)
        return block


def add_stem(network: nn.Module) -> None:
    """Add the stem of BN-Inception to a network."""
    add_conv(network, "conv1_7x7_s2", 3, 64, kernel=7, stride=2)
    network.add_module("pool1_3x3_s2", nn.MaxPool2d(3, stride=2, ceil_mode=True))
    add_conv(network, "conv2_3x3_reduce", 64, 64)
    add_conv(network, "conv2_3x3", 64, 192, kernel=3)
    network.add_module("pool2_3x3_s2", nn.MaxPool2d(3, stride=2, ceil_mode=True))


def run_stem(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Apply the stem that `add_stem` has added: [N, 3, H, W] → [N, 192, H/8, W/8]."""
    x = network.get_submodule("pool1_3x3_s2")(run_conv(network, "conv1_7x7_s2", images))
    x = run_conv(network, "conv2_3x3", run_conv(network, "conv2_3x3_reduce", x))
    return network.get_submodule("pool2_3x3_s2")(x)


def bn_inception(*, classes: int = 1000) -> BNInception:
    """Build BN-Inception."""
    return BNInception(classes=classes)

"""Inception-v3: images [N, 3, H, W] → logits [N, classes]. H and W must be at least 75.

    y = concatenate(branch1(x), branch2(x), …, branch_pool(pool(x)))

Each branch is a chain of small convolutions. The published weights were trained on 299×299 images.

Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016,
https://arxiv.org/abs/1512.00567. Parameters are named as in torchvision. torchvision's ImageNet weights
were converted from TensorFlow and expect images in [-1, 1]. But `inception_v3` takes images normalised with
ImageNet's mean and standard deviation, like the other 2D networks. The forward pass therefore first
rescales its input to [-1, 1], as torchvision does for these weights.

TSN's authors (CUHK) converted the same network in another way, `inception_v3_cuhk`: it takes BGR values
from 0 to 255 minus a mean, its kernels are transposed, its convolutions have biases, ε of the BatchNorms is
1e-5, the poolings of its stem round sizes up, and the last block has max pooling. It has no auxiliary head.
"""

from functools import partial

import torch
from torch import nn

Kernel = int | tuple[int, int]
Step = tuple[int, *tuple[Kernel, ...]]
Branches = dict[str, tuple[Step, ...]]

# SCALE · x + SHIFT maps images with ImageNet's normalisation (mean 0.485 …, std 0.229 …) to [-1, 1].
SCALE = (0.229 / 0.5, 0.224 / 0.5, 0.225 / 0.5)
SHIFT = ((0.485 - 0.5) / 0.5, (0.456 - 0.5) / 0.5, (0.406 - 0.5) / 0.5)

# A branch is a chain of steps. A step with one convolution is written (output channels, kernel).
# A step with two parallel convolutions is written (output channels, kernel, kernel).
GRID_35_REDUCE: Branches = {
    "branch3x3": ((384, 3),),
    "branch3x3dbl": ((64, 1), (96, 3), (96, 3)),
    "branch_pool": (),
}
GRID_17_REDUCE: Branches = {
    "branch3x3": ((192, 1), (320, 3)),
    "branch7x7x3": ((192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3)),
    "branch_pool": (),
}
GRID_8: Branches = {
    "branch1x1": ((320, 1),),
    "branch3x3": ((384, 1), (384, (1, 3), (3, 1))),
    "branch3x3dbl": ((448, 1), (384, 3), (384, (1, 3), (3, 1))),
    "branch_pool": ((192, 1),),
}


def _grid_35(*, pool: int) -> Branches:
    return {
        "branch1x1": ((64, 1),),
        "branch5x5": ((48, 1), (64, 5)),
        "branch3x3dbl": ((64, 1), (96, 3), (96, 3)),
        "branch_pool": ((pool, 1),),
    }


def _grid_17(*, inner: int) -> Branches:
    row, column = (1, 7), (7, 1)
    return {
        "branch1x1": ((192, 1),),
        "branch7x7": ((inner, 1), (inner, row), (192, column)),
        "branch7x7dbl": ((inner, 1), (inner, column), (inner, row), (inner, column), (192, row)),
        "branch_pool": ((192, 1),),
    }


class BasicConv2d(nn.Module):
    """Convolution, BatchNorm and ReLU.

    If `pad` is true, the convolution pads its input with zeros, so that stride 1 keeps H and W. If `pad` is
    false, there is no padding. If `cuhk` is true, the layers are those of `inception_v3_cuhk`.
    """

    def __init__(
        self,
        channels: int,
        *,
        outputs: int,
        kernel: Kernel,
        stride: int = 1,
        pad: bool = False,
        cuhk: bool = False,
    ) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        if cuhk:
            height, width = width, height
        padding = (height // 2, width // 2) if pad else 0
        self.conv = nn.Conv2d(channels, outputs, (height, width), stride, padding, bias=cuhk)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-5 if cuhk else 1e-3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps; the class docstring gives the shapes."""
        return self.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Inception block: parallel branches that share one input; their outputs are concatenated.

    Each branch is a chain of steps, and each step is one convolution or two parallel convolutions. The branch
    `branch_pool` pools the input first. If `reduce` is true, the pooling and the last convolution of every
    branch have stride 2 and no padding.
    Convolutions are named as in torchvision. If a branch has only one step, its convolution has the name of
    the branch. If a branch has several steps, the number of the step is appended: _1, _2, … Two parallel
    convolutions of a step also get the suffixes a and b. For example, `branch3x3_2a` and `branch3x3_2b` are
    the two convolutions of the second step of `branch3x3`. If `max_pool` is true, the pooling without stride
    takes maxima, not means.
    """

    def __init__(
        self,
        channels: int,
        *,
        branches: Branches,
        reduce: bool = False,
        cuhk: bool = False,
        max_pool: bool = False,
    ) -> None:
        super().__init__()
        self.pool: nn.Module = nn.AvgPool2d(3, stride=1, padding=1)
        if reduce:
            self.pool = nn.MaxPool2d(3, stride=2)
        elif max_pool:
            self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.chains: dict[str, list[list[str]]] = {branch: [] for branch in branches}
        for branch, steps in branches.items():
            inputs = channels
            for i, (outputs, *kernels) in enumerate(steps, start=1):
                halve = reduce and i == len(steps)
                stem = branch if len(steps) == 1 else f"{branch}_{i}"
                names = [stem] if len(kernels) == 1 else [f"{stem}a", f"{stem}b"]
                for name, kernel in zip(names, kernels, strict=True):
                    conv = BasicConv2d(
                        inputs,
                        outputs=outputs,
                        kernel=kernel,
                        stride=2 if halve else 1,
                        pad=not halve,
                        cuhk=cuhk,
                    )
                    self.add_module(name, conv)
                self.chains[branch].append(names)
                inputs = outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform feature maps; the class docstring gives the shapes."""
        outputs: list[torch.Tensor] = []
        for branch, chain in self.chains.items():
            y = [self.pool(x) if branch == "branch_pool" else x]
            for names in chain:
                y = [getattr(self, name)(y[0]) for name in names]
            outputs += y
        return torch.cat(outputs, dim=1)


class InceptionV3(nn.Module):
    """Inception-v3: a stem of five convolutions, eleven Mixed blocks and a classifier.

    The blocks have three resolutions: 35×35, 17×17 and 8×8 for 299×299 images. The shapes in the comments are
    also for 299×299 images.
    The auxiliary head exists only so that ImageNet state dicts load unchanged. The auxiliary head never runs,
    because networks for video are trained without an auxiliary loss. The forward pass therefore always
    returns one tensor.

    Args:
        classes: number of classes.
        cuhk: whether the layers are those of TSN's authors; see the top of this file.
    """

    def __init__(self, *, classes: int, cuhk: bool = False) -> None:
        super().__init__()
        conv, mixed = partial(BasicConv2d, cuhk=cuhk), partial(Mixed, cuhk=cuhk)
        self.rescales = not cuhk
        self.Conv2d_1a_3x3 = conv(3, outputs=32, kernel=3, stride=2)
        self.Conv2d_2a_3x3 = conv(32, outputs=32, kernel=3)
        self.Conv2d_2b_3x3 = conv(32, outputs=64, kernel=3, pad=True)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=cuhk)
        self.Conv2d_3b_1x1 = conv(64, outputs=80, kernel=1)
        self.Conv2d_4a_3x3 = conv(80, outputs=192, kernel=3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=cuhk)
        self.Mixed_5b = mixed(192, branches=_grid_35(pool=32))
        self.Mixed_5c = mixed(256, branches=_grid_35(pool=64))
        self.Mixed_5d = mixed(288, branches=_grid_35(pool=64))
        self.Mixed_6a = mixed(288, branches=GRID_35_REDUCE, reduce=True)
        self.Mixed_6b = mixed(768, branches=_grid_17(inner=128))
        self.Mixed_6c = mixed(768, branches=_grid_17(inner=160))
        self.Mixed_6d = mixed(768, branches=_grid_17(inner=160))
        self.Mixed_6e = mixed(768, branches=_grid_17(inner=192))
        self.AuxLogits: nn.Module | None = None if cuhk else _aux_head(classes=classes)
        self.Mixed_7a = mixed(768, branches=GRID_17_REDUCE, reduce=True)
        self.Mixed_7b = mixed(1280, branches=GRID_8)
        self.Mixed_7c = mixed(2048, branches=GRID_8, max_pool=cuhk)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(2048, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.1)
                if isinstance(module, nn.Conv2d) and module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify images: [N, 3, H, W] → logits [N, classes]."""
        images = _rescaled(images) if self.rescales else images
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))  # N 64 147 147
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(x)))  # N 192 71 71
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(self.maxpool2(x))))  # N 288 35 35
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))  # N 768 17 17
        x = self.Mixed_6e(self.Mixed_6d(x))  # N 768 17 17
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # N 2048 8 8
        x = self.dropout(self.avgpool(x).flatten(1))  # N 2048
        return self.fc(x)  # N classes


def _rescaled(images: torch.Tensor) -> torch.Tensor:
    """Rescale images with ImageNet's normalisation to [-1, 1]."""
    # Rescale with Python numbers, because a CUDA graph cannot capture the copy of a tensor from the CPU.
    rescaled = [
        images[:, place, None] * scale + shift
        for place, (scale, shift) in enumerate(zip(SCALE, SHIFT, strict=True))
    ]
    return torch.cat(rescaled, dim=1)


def _aux_head(*, classes: int) -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "conv0": BasicConv2d(768, outputs=128, kernel=1),
            "conv1": BasicConv2d(128, outputs=768, kernel=5),
            "fc": nn.Linear(768, classes),
        }
    )


def inception_v3(*, classes: int = 1000) -> InceptionV3:
    """Build Inception-v3."""
    return InceptionV3(classes=classes)


def inception_v3_cuhk(*, classes: int = 1000) -> InceptionV3:
    """Build Inception-v3 as TSN's authors converted it."""
    return InceptionV3(classes=classes, cuhk=True)

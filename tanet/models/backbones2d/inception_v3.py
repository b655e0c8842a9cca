"""Inception-v3: images [N, 3, H, W] → logits [N, classes]. H and W must be at least 75.

    y = concatenate(branch1(x), branch2(x), …, branch_pool(pool(x)))

Each branch is a chain of small convolutions. The published weights were trained on 299×299 images.

Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016,
https://arxiv.org/abs/1512.00567. Parameters are named as in torchvision. torchvision's ImageNet weights were
converted from TensorFlow and expect images in [-1, 1]. But all networks of tanet take images normalised with
ImageNet's mean and standard deviation. The forward pass therefore first rescales its input to [-1, 1], as
torchvision does for these weights.
"""

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
    false, there is no padding.
    """

    def __init__(
        self, channels: int, *, outputs: int, kernel: Kernel, stride: int = 1, pad: bool = False
    ) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, width // 2) if pad else 0
        self.conv = nn.Conv2d(channels, outputs, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)
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
    the two convolutions of the second step of `branch3x3`.
    """

    def __init__(self, channels: int, *, branches: Branches, reduce: bool = False) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(3, stride=2) if reduce else nn.AvgPool2d(3, stride=1, padding=1)
        self.chains: dict[str, list[list[str]]] = {branch: [] for branch in branches}
        for branch, steps in branches.items():
            inputs = channels
            for i, (outputs, *kernels) in enumerate(steps, start=1):
                halve = reduce and i == len(steps)
                stem = branch if len(steps) == 1 else f"{branch}_{i}"
                names = [stem] if len(kernels) == 1 else [f"{stem}a", f"{stem}b"]
                for name, kernel in zip(names, kernels, strict=True):
                    conv = BasicConv2d(
                        inputs, outputs=outputs, kernel=kernel, stride=2 if halve else 1, pad=not halve
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
    """

    def __init__(self, *, classes: int) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, outputs=32, kernel=3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, outputs=32, kernel=3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, outputs=64, kernel=3, pad=True)
        self.maxpool1 = nn.MaxPool2d(3, stride=2)
        self.Conv2d_3b_1x1 = BasicConv2d(64, outputs=80, kernel=1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, outputs=192, kernel=3)
        self.maxpool2 = nn.MaxPool2d(3, stride=2)
        self.Mixed_5b = Mixed(192, branches=_grid_35(pool=32))
        self.Mixed_5c = Mixed(256, branches=_grid_35(pool=64))
        self.Mixed_5d = Mixed(288, branches=_grid_35(pool=64))
        self.Mixed_6a = Mixed(288, branches=GRID_35_REDUCE, reduce=True)
        self.Mixed_6b = Mixed(768, branches=_grid_17(inner=128))
        self.Mixed_6c = Mixed(768, branches=_grid_17(inner=160))
        self.Mixed_6d = Mixed(768, branches=_grid_17(inner=160))
        self.Mixed_6e = Mixed(768, branches=_grid_17(inner=192))
        self.AuxLogits: nn.Module | None = _aux_head(classes=classes)
        self.Mixed_7a = Mixed(768, branches=GRID_17_REDUCE, reduce=True)
        self.Mixed_7b = Mixed(1280, branches=GRID_8)
        self.Mixed_7c = Mixed(2048, branches=GRID_8)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(2048, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Classify images: [N, 3, H, W] → logits [N, classes]."""
        # Rescale with Python numbers, because a CUDA graph cannot capture the copy of a tensor from the CPU.
        rescaled = [
            images[:, place, None] * scale + shift
            for place, (scale, shift) in enumerate(zip(SCALE, SHIFT, strict=True))
        ]
        images = torch.cat(rescaled, dim=1)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))  # N 64 147 147
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(x)))  # N 192 71 71
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(self.maxpool2(x))))  # N 288 35 35
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))  # N 768 17 17
        x = self.Mixed_6e(self.Mixed_6d(x))  # N 768 17 17
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))  # N 2048 8 8
        x = self.dropout(self.avgpool(x).flatten(1))  # N 2048
        return self.fc(x)  # N classes


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

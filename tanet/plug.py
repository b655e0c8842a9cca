"""Where a temporal module enters a 2D network: sites and hooks.

A site is a child of the 2D network, a convolution say. The temporal module becomes the site's child
`temporal` and runs in a hook before or after it. No parameter of the 2D network is renamed, so a plain
ImageNet state dict loads before and after; and since networks are recognised by their structure,
torchvision's and timm's networks of the same structure can be plugged as well as ours.

    position    residual bottleneck (Figure 3)      inverted residual, ShuffleNet unit, Inception branch
    a           before conv1                        before the first 1×1 convolution
    b           after conv1-BN-ReLU, before conv2   before the depthwise (Inception: spatial) convolution
    c           after conv2-BN-ReLU, before conv3   before the second 1×1 convolution
    d           after conv3-BN, before the addition after the last BatchNorm
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import nn

Position = Literal["a", "b", "c", "d"]
M = TypeVar("M", bound=nn.Module)
STAGES = ("res2", "res3", "res4", "res5")


@dataclass(frozen=True)
class Site:
    """A place for a temporal module: before or after one child of the 2D network."""

    name: str
    """Dotted name of the child in the network."""
    module: nn.Module
    channels: int
    """C of the maps that pass there."""
    when: Literal["before", "after"]
    stage: str
    """res2 … res5: maps of stride 4, 8, 16, 32."""


def plug(
    network: nn.Module,
    make: Callable[[int], nn.Module],
    *,
    position: Position = "b",
    stages: tuple[str, ...] = STAGES,
) -> nn.Module:
    """Plug a temporal module into every block of a 2D network, in place.

    Args:
        network: any 2D network that `sites` knows.
        make: builds the module for C channels, e.g. `lambda channels: TAM(channels, frames=8)`.
        position: where in the block.
        stages: which of res2 … res5 get one.

    Returns:
        The same network; the frames of a clip must now be consecutive rows of its batch.

    Raises:
        ValueError: the structure, position or a stage is not known, or the network is plugged already.
    """
    chosen = [site for site in sites(network, position=position) if site.stage in stages]
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown or not chosen:
        raise ValueError(f"no block to plug in stages {', '.join(stages)}: known are {', '.join(STAGES)}")
    plugged = next((name for name, _ in network.named_modules() if name.endswith(".temporal")), None)
    if plugged:
        raise ValueError(f"the network has a temporal module already: {plugged}")
    for site in chosen:
        site.module.add_module("temporal", make(site.channels))
        if site.when == "before":
            site.module.register_forward_pre_hook(_before)
        else:
            site.module.register_forward_hook(_after)
    return network


# The hooks are functions of the module file that find their temporal module through the site they are called
# for. A closure would go on calling the original's module after a deep copy.
def _before(site: nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
    return site.get_submodule("temporal")(inputs[0])


def _after(site: nn.Module, _: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
    return site.get_submodule("temporal")(output)


def sites(network: nn.Module, *, position: Position = "b") -> list[Site]:
    """All places of one position in a 2D network, in order.

    Raises:
        ValueError: the structure is not known, or has no such position.
    """
    if position not in ("a", "b", "c", "d"):
        raise ValueError(f"unknown position '{position}': known are a, b, c, d")
    for find in (_resnet, _mobilenet_v2, _shufflenet_v2, _inception_v3):
        found = list(find(network, position))
        if found:
            return found
    raise ValueError(
        f"{type(network).__name__} is not a network whose blocks are known: "
        "ResNet, ResNeXt, MobileNetV2, ShuffleNetV2, InceptionV3 or one of the same structure"
    )


def _resnet(network: nn.Module, position: Position) -> Iterator[Site]:
    for name, block in network.named_modules():
        stage = re.fullmatch(r"layer([1-4])\.\d+", name)
        if not stage or not hasattr(block, "conv2"):
            continue
        bottleneck = hasattr(block, "conv3")
        if position == "c" and not bottleneck:
            raise ValueError("position c is before conv3, and a basic block has none: choose a, b or d")
        last_norm = "bn3" if bottleneck else "bn2"
        child = {"a": "conv1", "b": "conv2", "c": "conv3", "d": last_norm}[position]
        yield _site(network, f"{name}.{child}", f"res{int(stage[1]) + 1}")


def _mobilenet_v2(network: nn.Module, position: Position) -> Iterator[Site]:
    halvings = 0
    for name, block in network.named_modules():
        # Only blocks that expand begin with a 1×1 convolution: expand, depthwise, project, norm.
        if not re.fullmatch(r"features\.\d+", name) or len(getattr(block, "conv", ())) != 4:
            continue
        halvings += _child(block, "conv.1.0", nn.Conv2d).stride == (2, 2)
        child = {"a": "conv.0.0", "b": "conv.1.0", "c": "conv.2", "d": "conv.3"}[position]
        yield _site(network, f"{name}.{child}", STAGES[halvings - 1])


def _shufflenet_v2(network: nn.Module, position: Position) -> Iterator[Site]:
    for name, block in network.named_modules():
        stage = re.fullmatch(r"stage([2-4])\.\d+", name)
        if not stage or not hasattr(block, "branch2"):
            continue
        # 1×1 convolution (0, 1, 2), depthwise convolution (3, 4), 1×1 convolution (5, 6, 7)
        child = {"a": "0", "b": "3", "c": "5", "d": "6"}[position]
        yield _site(network, f"{name}.branch2.{child}", f"res{int(stage[1]) + 1}")


def _inception_v3(network: nn.Module, position: Position) -> Iterator[Site]:
    for name, module in network.named_modules():
        # Branches that first reduce by a 1×1 convolution, then look around: branch5x5_1, branch3x3dbl_1, …
        block = re.fullmatch(r"Mixed_([5-7])[a-e]\.branch\d\w*_1", name)
        if not block:
            continue
        if position in ("c", "d"):
            raise ValueError(f"position {position} needs a residual block; Inception's branches have a and b")
        stage = f"res{int(block[1]) - 2}"
        if position == "a":
            yield _site(network, f"{name}.conv", stage)
        else:
            yield Site(name, module, _child(module, "conv", nn.Conv2d).out_channels, "after", stage)


def _site(network: nn.Module, name: str, stage: str) -> Site:
    module = network.get_submodule(name)
    if isinstance(module, nn.Conv2d):
        return Site(name, module, module.in_channels, "before", stage)
    return Site(name, module, _child(network, name, nn.BatchNorm2d).num_features, "after", stage)


def _child(network: nn.Module, name: str, kind: type[M]) -> M:
    module = network.get_submodule(name)
    if not isinstance(module, kind):
        raise ValueError(f"{name} is a {type(module).__name__}, not the expected {kind.__name__}")
    return module

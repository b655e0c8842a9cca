"""Sites: the places in a 2D network where a temporal module can be inserted.

    position    residual bottleneck (Figure 3)      inverted residual, ShuffleNet unit, Inception branch
    a           before conv1                        before the first 1×1 convolution
    b           after conv1-BN-ReLU, before conv2   before the depthwise (Inception: spatial) convolution
    c           after conv2-BN-ReLU, before conv3   before the second 1×1 convolution
    d           after conv3-BN, before the addition after the last BatchNorm
    beside      beside conv1                        beside the first 1×1 convolution
    block       after the block                     after the block; Inception: after a mixed module

Networks are recognised by their structure, so the networks of torchvision and timm with the same structure
have the same sites as ours.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, TypeVar, get_args

from torch import nn

from tanet.errors import UserError

Position = Literal["a", "b", "c", "d"]
Placement = Literal["a", "b", "c", "d", "beside", "block"]
M = TypeVar("M", bound=nn.Module)
STAGES = ("res2", "res3", "res4", "res5")
PLACEMENTS: tuple[Placement, ...] = get_args(Placement)


@dataclass(frozen=True)
class Site:
    """A place for a temporal module: before, after or beside one child of the 2D network."""

    name: str
    """Dotted name of the child in the network."""
    module: nn.Module
    channels: int
    """C of the feature maps at this place."""
    when: Literal["before", "after", "beside"]
    """beside: the temporal module gets the child's input; its output is added to the child's output."""
    stage: str
    """res2, res3, res4 or res5; their maps have stride 4, 8, 16 and 32."""
    norm: str = ""
    """Dotted name of the BatchNorm before the temporal module: norm → `act` → module; "" if there is none."""
    act: str = ""
    """Dotted name of the activation between that norm and the temporal module; "" if there is none."""


def find_sites(network: nn.Module, *, place: Placement, stages: tuple[str, ...] = STAGES) -> list[Site]:
    """Find all sites of one kind in a 2D network, in order.

    Raises:
        UserError: the structure is unknown or has no such place, or a stage is unknown.
    """
    if place not in PLACEMENTS:
        raise UserError(f"unknown position '{place}': choose from {', '.join(PLACEMENTS)}")
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown:
        raise UserError(f"unknown stage {', '.join(unknown)}: choose from {', '.join(STAGES)}")
    for find in (_resnet, _mobilenet_v2, _shufflenet_v2, _inception_v3):
        found = list(find(network, place))
        if found:
            return [site for site in found if site.stage in stages]
    raise UserError(
        f"{type(network).__name__} is not a supported 2D network: use ResNet, ResNeXt, MobileNetV2, "
        "ShuffleNetV2, InceptionV3 or one of the same structure"
    )


def _resnet(network: nn.Module, place: Placement) -> Iterator[Site]:
    for name, block in network.named_modules():
        stage = re.fullmatch(r"layer([1-4])\.\d+", name)
        if not stage or not hasattr(block, "conv2"):
            continue
        bottleneck = hasattr(block, "conv3")
        if place == "c" and not bottleneck:
            raise UserError("position c is before conv3, and a basic block has none: choose a, b or d")
        last_norm = "bn3" if bottleneck else "bn2"
        children = {"a": "conv1", "b": "conv2", "c": "conv3", "d": last_norm}
        yield _site(name, block, place, children, f"res{int(stage[1]) + 1}", before_b=("bn1", "relu1"))


def _mobilenet_v2(network: nn.Module, place: Placement) -> Iterator[Site]:
    halvings = 0
    for name, block in network.named_modules():
        # Skip blocks without expansion. The others have four children: expand, depthwise, project, norm.
        if not re.fullmatch(r"features\.\d+", name) or len(getattr(block, "conv", ())) != 4:
            continue
        halvings += _child(block, "conv.1.0", nn.Conv2d).stride == (2, 2)
        children = {"a": "conv.0.0", "b": "conv.1.0", "c": "conv.2", "d": "conv.3"}
        before_b = ("conv.0.1", "conv.0.2")
        yield _site(name, block, place, children, STAGES[halvings - 1], before_b=before_b)


def _shufflenet_v2(network: nn.Module, place: Placement) -> Iterator[Site]:
    for name, block in network.named_modules():
        stage = re.fullmatch(r"stage([2-4])\.\d+", name)
        if not stage or not hasattr(block, "branch2"):
            continue
        # 1×1 convolution (0, 1, 2), depthwise convolution (3, 4), 1×1 convolution (5, 6, 7)
        children = {"a": "branch2.0", "b": "branch2.3", "c": "branch2.5", "d": "branch2.6"}
        before_b = ("branch2.1", "branch2.2")
        site = _site(name, block, place, children, f"res{int(stage[1]) + 1}", before_b=before_b)
        # A unit concatenates the outputs of its two branches.
        yield replace(site, channels=2 * site.channels) if place == "block" else site


def _inception_v3(network: nn.Module, place: Placement) -> Iterator[Site]:
    mixed = [(n, m) for n, m in network.named_children() if re.fullmatch(r"Mixed_[5-7][a-e]", n)]
    if mixed and place in ("c", "d"):
        raise UserError(f"position {place} needs a residual block; Inception's branches have a and b")
    if place == "block":
        # The input channels of the next mixed module give C. The last mixed module is not a site, because
        # only pooling follows it.
        for (name, module), (_, following) in pairwise(mixed):
            convs = (m for m in following.modules() if isinstance(m, nn.Conv2d))
            yield Site(name, module, next(convs).in_channels, "after", f"res{int(name[6]) - 2}")
        return
    for name, module in network.named_modules():
        # Branches that begin with a 1×1 convolution, followed by spatial ones: branch5x5_1, branch3x3dbl_1, …
        block = re.fullmatch(r"Mixed_([5-7])[a-e]\.branch\d\w*_1", name)
        if block:
            conv = _child(module, "conv", nn.Conv2d)
            stage = f"res{int(block[1]) - 2}"
            if place == "b":
                # torchvision's branches call F.relu; ours have a module, which can be absorbed.
                own = isinstance(getattr(module, "relu", None), nn.ReLU)
                norm, act = (f"{name}.bn", f"{name}.relu") if own else ("", "")
                yield Site(name, module, conv.out_channels, "after", stage, norm, act)
            else:
                when: Literal["before", "beside"] = "before" if place == "a" else "beside"
                yield Site(f"{name}.conv", conv, conv.in_channels, when, stage)


def _site(
    name: str,
    block: nn.Module,
    place: Placement,
    children: dict[str, str],
    stage: str,
    *,
    before_b: tuple[str, str],
) -> Site:
    """Return the site of a residual block.

    Args:
        name: dotted name of the block.
        block: the block.
        place: where in the block; see the table above.
        children: names of the block's convolutions (a, b, c) and of its last norm (d).
        stage: res2 … res5.
        before_b: names of the norm and the activation between the first two convolutions. In torchvision's
            ResNet there is no such activation: each block has one ReLU, used several times.
    """
    if place == "block":
        return Site(name, block, _child(block, children["d"], nn.BatchNorm2d).num_features, "after", stage)
    child = children["a" if place == "beside" else place]
    if place == "d":
        norm = _child(block, child, nn.BatchNorm2d)
        return Site(f"{name}.{child}", norm, norm.num_features, "after", stage)
    conv = _child(block, child, nn.Conv2d)
    when: Literal["before", "beside"] = "beside" if place == "beside" else "before"
    site = Site(f"{name}.{child}", conv, conv.in_channels, when, stage)
    if place == "b" and all(part in dict(block.named_modules()) for part in before_b):
        norm, act = (f"{name}.{part}" for part in before_b)
        site = replace(site, norm=norm, act=act)
    return site


def _child(module: nn.Module, name: str, kind: type[M]) -> M:
    child = module.get_submodule(name)
    if not isinstance(child, kind):
        raise UserError(f"{name} is a {type(child).__name__}, not the expected {kind.__name__}")
    return child

"""Sites: the places in a 2D network where a temporal module can be inserted.

    position    residual bottleneck (Figure 3)         inverted residual, ShuffleNet unit, Inception branch
    a           before conv1                           before the first 1×1 convolution
    b           after conv1-BN-ReLU, before conv2      before the depthwise (Inception: spatial) convolution
    c           after conv2-BN-ReLU, before conv3      before the second 1×1 convolution
    d           after conv3-BN, before the addition    after the last BatchNorm
    input       before the block                       before the block
    beside      beside conv1                           beside the first 1×1 convolution
    norm2       beside the BatchNorm after conv2       beside the BatchNorm after the depthwise convolution
    conv2       in the place of conv2                  in the place of the depthwise convolution
    block       after the block                        after the block; Inception: after a Mixed block

Figure 3 is in TAM's paper. A module beside a layer gets the same input as the layer, and the two outputs
are added. In BN-Inception, `input` is also before the second convolution of the stem. Networks are
recognised by their structure. Networks of torchvision and timm therefore have the same sites as tanet's
networks, if they have the same structure.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeVar, get_args

from torch import nn

from tanet.errors import UserError
from tanet.models.backbones2d import big_little
from tanet.models.backbones2d.big_little import BigLittleResNet

Position = Literal["a", "b", "c", "d", "input"]
Placement = Literal["a", "b", "c", "d", "input", "beside", "norm2", "conv2", "block"]
M = TypeVar("M", bound=nn.Module)
STAGES = ("res2", "res3", "res4", "res5")
PLACEMENTS: tuple[Placement, ...] = get_args(Placement)


@dataclass(frozen=True)
class Site:
    """A place for a temporal module: before, after, beside or instead of one child of the 2D network."""

    name: str
    """Dotted name of the child `module` in the network."""
    module: nn.Module
    channels: int
    """C, the number of channels of the feature maps at this place."""
    when: Literal["before", "after", "beside", "replace"]
    """Whether the temporal module runs before, after or beside the child, or takes its place. beside: the
    child and the temporal module get the same input, and the two outputs are added."""
    stage: str
    """Stage of the 2D network. The feature maps of res2, res3, res4 and res5 have stride 4, 8, 16 and 32."""
    norm: str = ""
    """Dotted name of the BatchNorm that runs before `act` and the temporal module; "" if there is none."""
    act: str = ""
    """Dotted name of the activation between `norm` and the temporal module; "" if there is none."""
    shortcut: bool = False
    """Whether the block adds its unchanged input to its output."""


def find_sites(network: nn.Module, *, place: Placement, stages: tuple[str, ...] = STAGES) -> list[Site]:
    """Find the sites at position `place` in the given stages of a 2D network, from input to output.

    Raises:
        UserError: the network's structure, the position or a stage is unknown, or the network's blocks do
            not have this position.
    """
    if place not in PLACEMENTS:
        raise UserError(f"unknown position '{place}': choose from {', '.join(PLACEMENTS)}")
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown:
        raise UserError(f"unknown stage {', '.join(unknown)}: choose from {', '.join(STAGES)}")
    for find in (_resnet, _mobilenet_v2, _shufflenet_v2, _inception_v3, _bn_inception):
        found = list(find(network, place))
        if found:
            return [site for site in found if site.stage in stages]
    raise UserError(
        f"{type(network).__name__} is not a supported 2D network: use ResNet, ResNeXt, MobileNetV2, "
        "ShuffleNetV2, InceptionV3, BNInception or a network with the same structure"
    )


def stages_of(network: nn.Module) -> dict[str, tuple[str, ...]]:
    """Return the stages of a 2D network and the names of their modules, from input to output.

    The first module with stride 2 begins the stem, the second res2, and so on. Only modules with weights are
    returned, and only stages that have such modules.
    """
    if isinstance(network, BigLittleResNet):
        return dict(big_little.STAGES)
    parts = [
        (f"{name}.{inner}", child) if name == "features" else (name, part)
        for name, part in network.named_children()
        for inner, child in (part.named_children() if name == "features" else [("", part)])
    ]
    found: dict[str, list[str]] = {stage: [] for stage in ("stem", *STAGES)}
    halvings = 0
    for name, part in parts:
        halvings += any(getattr(module, "stride", 1) in (2, (2, 2)) for module in part.modules())
        if any(True for _ in part.parameters()):
            found[("stem", *STAGES)[max(halvings, 1) - 1]].append(name)
    return {stage: tuple(names) for stage, names in found.items() if names}


def _resnet(network: nn.Module, place: Placement) -> Iterator[Site]:
    for name, block in network.named_modules():
        stage = re.fullmatch(r"layer([1-4])\.\d+", name)
        if not stage or not hasattr(block, "conv2"):
            continue
        bottleneck = hasattr(block, "conv3")
        if place == "c" and not bottleneck:
            raise UserError("position c is before conv3, but a basic block has no conv3: choose a, b or d")
        last_norm = "bn3" if bottleneck else "bn2"
        children = {
            "a": "conv1",
            "b": "conv2",
            "c": "conv3",
            "d": last_norm,
            "norm2": "bn2",
            "conv2": "conv2",
        }
        site = _site(name, block, place, children, f"res{int(stage[1]) + 1}", before_b=("bn1", "relu1"))
        yield replace(site, shortcut=getattr(block, "downsample", None) is None)


def _mobilenet_v2(network: nn.Module, place: Placement) -> Iterator[Site]:
    halvings = 0
    for name, block in network.named_modules():
        # Only blocks with expansion have four children: expand, depthwise, project, norm. Skip other blocks.
        if not re.fullmatch(r"features\.\d+", name) or len(getattr(block, "conv", ())) != 4:
            continue
        halvings += _child(block, "conv.1.0", nn.Conv2d).stride == (2, 2)
        children = {"a": "conv.0.0", "b": "conv.1.0", "c": "conv.2", "d": "conv.3"}
        children |= {"norm2": "conv.1.1", "conv2": "conv.1.0"}
        before_b = ("conv.0.1", "conv.0.2")
        site = _site(name, block, place, children, STAGES[halvings - 1], before_b=before_b)
        yield replace(site, shortcut=bool(getattr(block, "use_res_connect", False)))


def _shufflenet_v2(network: nn.Module, place: Placement) -> Iterator[Site]:
    for name, block in network.named_modules():
        stage = re.fullmatch(r"stage([2-4])\.\d+", name)
        if not stage or not hasattr(block, "branch2"):
            continue
        # branch2 has a 1×1 convolution at index 0, a depthwise convolution at 3 and a 1×1 convolution at 5.
        # In branch2, a BatchNorm follows each convolution, at indices 1, 4 and 6.
        children = {"a": "branch2.0", "b": "branch2.3", "c": "branch2.5", "d": "branch2.6"}
        children |= {"norm2": "branch2.4", "conv2": "branch2.3"}
        before_b = ("branch2.1", "branch2.2")
        site = _site(name, block, place, children, f"res{int(stage[1]) + 1}", before_b=before_b)
        # A block concatenates its two branches, so its output has twice as many channels as one branch. A
        # block without layers in branch1 splits its input in two.
        splits = not any(True for _ in block.get_submodule("branch1").children())
        twice = place == "block" or (place == "input" and splits)
        yield replace(site, channels=2 * site.channels) if twice else site


def _inception_v3(network: nn.Module, place: Placement) -> Iterator[Site]:
    mixed = [(n, m) for n, m in network.named_children() if re.fullmatch(r"Mixed_[5-7][a-e]", n)]
    if mixed:
        _check_inception(place)
    if place in ("input", "block"):
        stages = [f"res{int(name[6]) - 2}" for name, _ in mixed]
        yield from _around(mixed, place, stages)
        return
    for name, module in network.named_modules():
        # Match the first 1×1 convolution of each branch that has more convolutions, for example branch5x5_1.
        block = re.fullmatch(r"Mixed_([5-7])[a-e]\.branch\d\w*_1", name)
        if block:
            conv = _child(module, "conv", nn.Conv2d)
            stage = f"res{int(block[1]) - 2}"
            if place == "b":
                # A TAM can absorb a ReLU module, but torchvision's branches call F.relu instead of a module.
                own = isinstance(getattr(module, "relu", None), nn.ReLU)
                norm, act = (f"{name}.bn", f"{name}.relu") if own else ("", "")
                yield Site(name, module, conv.out_channels, "after", stage, norm, act)
            else:
                when: Literal["before", "beside"] = "before" if place == "a" else "beside"
                yield Site(f"{name}.conv", conv, conv.in_channels, when, stage)


def _bn_inception(network: nn.Module, place: Placement) -> Iterator[Site]:
    blocks = [(n, m) for n, m in network.named_children() if re.fullmatch(r"inception_[3-5][a-e]", n)]
    if not blocks:
        return
    _check_inception(place)
    # 3c and 4e halve the resolution, so they belong to the next stage.
    stages = ["res4" if n[10:] == "3c" else "res5" if n[10:] == "4e" else f"res{n[10]}" for n, _ in blocks]
    if place in ("input", "block"):
        if place == "input":
            conv = _child(network, "conv2_3x3_reduce", nn.Conv2d)
            yield Site("conv2_3x3_reduce", conv, conv.in_channels, "before", "res2")
        yield from _around(blocks, place, stages)
        return
    for (name, block), stage in zip(blocks, stages, strict=True):
        for first, second in (("3x3_reduce", "3x3"), ("double_3x3_reduce", "double_3x3_1")):
            conv = _child(block, second if place == "b" else first, nn.Conv2d)
            if place == "b":
                norm, act = f"{name}.{first}_bn", f"{name}.{first}_relu"
                yield Site(f"{name}.{second}", conv, conv.in_channels, "before", stage, norm, act)
            else:
                when: Literal["before", "beside"] = "before" if place == "a" else "beside"
                yield Site(f"{name}.{first}", conv, conv.in_channels, when, stage)


def _check_inception(place: Placement) -> None:
    if place in ("c", "d", "norm2", "conv2"):
        raise UserError(
            f"position {place} does not exist in the branches of Inception: choose a, b or input, "
            "or another temporal module"
        )


def _around(blocks: list[tuple[str, nn.Module]], place: Placement, stages: list[str]) -> Iterator[Site]:
    """Yield the sites before or after Inception blocks.

    A block outputs as many channels as the next block has input channels. Nothing is inserted after the last
    block, because only pooling comes after it.
    """
    widths = [next(m for m in block.modules() if isinstance(m, nn.Conv2d)).in_channels for _, block in blocks]
    if place == "input":
        for (name, module), channels, stage in zip(blocks, widths, stages, strict=True):
            yield Site(name, module, channels, "before", stage)
        return
    for (name, module), channels, stage in zip(blocks, widths[1:], stages, strict=False):
        yield Site(name, module, channels, "after", stage)


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
        place: position in the block; see the table in the module's docstring.
        children: for position a, b or c, the name of a convolution of the block; for d, the name of the last
            BatchNorm.
        stage: res2 … res5.
        before_b: names of the BatchNorm and the activation between the first two convolutions. They are
            ignored if the block lacks one of these children. For example, torchvision's ResNet blocks have
            no separate activation there: each block has one ReLU, which is used several times.
    """
    if place == "block":
        return Site(name, block, _child(block, children["d"], nn.BatchNorm2d).num_features, "after", stage)
    if place == "input":
        return Site(name, block, _child(block, children["a"], nn.Conv2d).in_channels, "before", stage)
    child = children["a" if place == "beside" else place]
    if place in ("d", "norm2"):
        norm = _child(block, child, nn.BatchNorm2d)
        when: Literal["before", "after", "beside", "replace"] = "after" if place == "d" else "beside"
        return Site(f"{name}.{child}", norm, norm.num_features, when, stage)
    conv = _child(block, child, nn.Conv2d)
    when = {"beside": "beside", "conv2": "replace"}.get(place, "before")  # type: ignore[assignment]
    site = Site(f"{name}.{child}", conv, conv.in_channels, when, stage)
    if place == "b" and all(part in dict(block.named_modules()) for part in before_b):
        norm, act = (f"{name}.{part}" for part in before_b)
        site = replace(site, norm=norm, act=act)
    return site


def _child(module: nn.Module, name: str, kind: type[M]) -> M:
    child = module.get_submodule(name)
    if not isinstance(child, kind):
        raise UserError(f"{name} is a {type(child).__name__}, but a {kind.__name__} is expected")
    return child

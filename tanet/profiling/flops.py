"""What a network costs: parameters, operations for one clip, measured time and memory. `tanet cost RECIPE`.

    multiply-adds    convolutions + linear layers + temporal taps + products of attention
    paper's FLOPs    convolutions + linear layers + temporal taps + 2 · elements that BatchNorms put out

The first is what a network computes. The second is how the paper's Table 2 counts: one operation for each
multiply-add and two for each element of a BatchNorm, none for attention's products, activations and pooling.
Found by trial, for the paper does not say: the 2D network comes to its 42.95 G, TANet to its 43.02 G.
To count, one clip is run through a copy of the network on PyTorch's meta device, which knows shapes and holds
no numbers: weights are not copied, and nothing is computed.
"""

import copy
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import nn

from tanet.errors import UserError
from tanet.models.factory import build
from tanet.models.video_net import VideoNet
from tanet.recipes.recipe import Network2D

AnyConv = nn.Conv1d | nn.Conv2d | nn.Conv3d
AnyBatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


@dataclass(frozen=True)
class Count:
    """Parameters, and operations for one clip."""

    parameters: int = 0
    dense: int = 0
    """Multiply-adds of convolutions and linear layers."""
    taps: int = 0
    """Multiply-adds of filters over time that are no layers, of the adaptive convolution say."""
    products: int = 0
    """Multiply-adds of attention's matrix products."""
    norms: int = 0
    """Elements that BatchNorms put out."""

    @property
    def macs(self) -> int:
        """Multiply-adds."""
        return self.dense + self.taps + self.products

    @property
    def paper_flops(self) -> int:
        """FLOPs as the paper's Table 2 counts them."""
        return self.dense + self.taps + 2 * self.norms

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.parameters + other.parameters,
            self.dense + other.dense,
            self.taps + other.taps,
            self.products + other.products,
            self.norms + other.norms,
        )


@dataclass(frozen=True)
class Cost:
    """The counts of a network by its parts."""

    backbone: Count
    """The 2D network."""
    temporal: Count
    """All temporal modules."""
    classifier: Count

    @property
    def total(self) -> Count:
        """The counts of all parts together."""
        return self.backbone + self.temporal + self.classifier


def build_on_meta(model: Network2D, *, classes: int) -> VideoNet:
    """The network of a recipe's model section on the meta device, without numbers; what `count_cost` needs.

    Raises:
        UserError: as `factory.build`.
    """
    with torch.device("meta"):
        return build(model, classes=classes)


def count_cost(network: VideoNet, *, size: int) -> Cost:
    """Count parameters, and operations for one clip of T frames.

    Args:
        network: on any device; it is left as it is.
        size: side of the frames, in pixels.

    Raises:
        UserError: a layer is of a kind that has no count, or the frames are too small for the network.
    """
    if size < 1:
        raise UserError(f"size must be positive, not {size}")
    network = _without_numbers(network).eval()
    counts = {"backbone": Count(), "temporal": Count(), "classifier": Count()}
    for name, parameter in network.named_parameters():
        counts[_part(name)] += Count(parameters=parameter.numel())
    for name, module in network.named_modules():
        _check_kind(name, module)
        module.register_forward_hook(partial(_count_call, counts, _part(name)))
    try:
        network(torch.empty(1, network.frames, 3, size, size, device="meta"))
    except RuntimeError as error:
        cause = str(error).splitlines()[0]
        raise UserError(f"frames of {size} × {size} pixels do not pass this network: {cause}") from error
    return Cost(**counts)


def _without_numbers(network: VideoNet) -> VideoNet:
    """A copy on the meta device, made without copying the numbers first."""
    # What deepcopy finds in its memo it takes for copied already.
    memo: dict[int, object] = {id(b): torch.empty_like(b, device="meta") for b in network.buffers()}
    for p in network.parameters():
        memo[id(p)] = nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=False)
    return copy.deepcopy(network, memo)


def _part(name: str) -> Literal["backbone", "temporal", "classifier"]:
    """The part of a VideoNet that a parameter or module of a dotted name belongs to."""
    if "temporal" in name.split("."):
        return "temporal"
    return "classifier" if name.startswith("head") else "backbone"


def _check_kind(name: str, module: nn.Module) -> None:
    known = isinstance(module, AnyConv | AnyBatchNorm | nn.Linear) or hasattr(module, "taps")
    if not known and list(module.parameters(recurse=False)):
        raise UserError(f"{name}: the operations of a {type(module).__name__} can not be counted")


def _count_call(
    counts: dict[str, Count],
    part: str,
    module: nn.Module,
    inputs: tuple[torch.Tensor],
    output: torch.Tensor,
) -> None:
    """A hook: what a call of a module costs goes to its part."""
    counts[part] += _operations(module, inputs, output)


def _operations(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> Count:
    """The operations of one call of a module that none of its children accounts for."""
    elements = output.numel()
    if isinstance(module, AnyConv):
        return Count(dense=elements * module.weight[0].numel())
    if isinstance(module, nn.Linear):
        return Count(dense=elements * module.in_features)
    if isinstance(module, AnyBatchNorm):
        return Count(norms=elements)
    # Temporal modules say for themselves what they do outside of layers.
    products = getattr(module, "attention_products", None)
    return Count(
        taps=elements * getattr(module, "taps", 0),
        products=products(inputs[0].shape) if products else 0,
    )

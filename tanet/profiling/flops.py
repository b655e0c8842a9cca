"""Count the parameters of a network and its operations for one clip. `tanet cost RECIPE` prints the counts.

    multiply-adds    convolutions + linear layers + temporal taps + attention's matrix products
    paper's FLOPs    convolutions + linear layers + temporal taps + 2 · elements that BatchNorms output

The first line is the true number of multiply-adds. The second line reproduces the FLOPs in Table 2 of the
paper. It counts one operation per multiply-add and two per output element of a BatchNorm. It does not count
attention's matrix products, activations and pooling. The paper does not state its rule. The rule here was
found by trial. As in the paper, the result is 42.95 G for the 2D network and 43.02 G for TANet.

The figures in Table 4 are multiply-adds, copied from many papers. Most leave out attention's matrix products.

Operations are counted during a forward pass of one clip through a copy of the network on PyTorch's meta
device. This device tracks shapes but holds no data, so no weights are copied and nothing is computed.
"""

import copy
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import nn

from tanet.errors import UserError
from tanet.models.factory import build
from tanet.models.meta import on_meta
from tanet.models.network import Network
from tanet.recipes.network_settings import NetworkSettings

AnyConv = nn.Conv1d | nn.Conv2d | nn.Conv3d
AnyBatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


@dataclass(frozen=True)
class Count:
    """Number of parameters, and numbers of operations for one clip."""

    parameters: int = 0
    dense: int = 0
    """Multiply-adds of convolutions and linear layers."""
    taps: int = 0
    """Multiply-adds of temporal filters that are not PyTorch layers, such as the adaptive convolution."""
    products: int = 0
    """Multiply-adds of attention's matrix products."""
    norms: int = 0
    """Number of elements that BatchNorms output."""

    @property
    def macs(self) -> int:
        """Return the number of multiply-adds."""
        return self.layers + self.products

    @property
    def layers(self) -> int:
        """Return the number of multiply-adds without attention's matrix products."""
        return self.dense + self.taps

    @property
    def paper_flops(self) -> int:
        """Return the FLOPs, counted as in the paper's Table 2."""
        return self.layers + 2 * self.norms

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
    """Parameters and operations of the three parts of a network."""

    backbone: Count
    """Counts of all layers except temporal modules and the classifier."""
    temporal: Count
    """Counts of all temporal modules together."""
    classifier: Count

    @property
    def total(self) -> Count:
        """Return the sum of the counts of all parts."""
        return self.backbone + self.temporal + self.classifier


def build_on_meta(model: NetworkSettings, *, classes: int) -> Network:
    """Build a network on PyTorch's meta device, which needs no memory for the weights.

    Args:
        model: model section of a recipe.
        classes: number of classes.

    Raises:
        UserError: the network cannot be built; see `factory.build`.
    """
    with on_meta():
        return build(model, classes=classes)


def count_cost(network: Network, *, size: int) -> Cost:
    """Count the parameters of a network, and its operations for one clip.

    Args:
        network: network on any device. It is not changed, because a copy is used for counting.
        size: side of the square frames, in pixels.

    Raises:
        UserError: size is not positive, the frames do not fit the network, or the operations of a layer
            cannot be counted.
    """
    if size < 1:
        raise UserError(f"size must be positive, not {size}")
    network = _without_numbers(network).eval()
    counts = {"backbone": Count(), "temporal": Count(), "classifier": Count()}
    for name, parameter in network.named_parameters():
        counts[_part(name)] += Count(parameters=parameter.numel())
    for name, module in network.named_modules():
        _check_kind(name, module)
        if isinstance(module, AnyBatchNorm | nn.ReLU):
            module.forward = nn.Identity().forward  # same shape; computing it on meta tensors is slow
        module.register_forward_hook(partial(_count_call, counts, _part(name)))
    try:
        network(torch.empty(1, network.frames, network.channels, size, size, device="meta"))
    except (RuntimeError, ValueError) as error:
        cause = str(error).splitlines()[0]
        raise UserError(f"frames of {size} × {size} pixels do not fit this network: {cause}") from error
    return Cost(**counts)


def _without_numbers(network: Network) -> Network:
    """Copy a network to the meta device without copying its weights."""
    # If `memo` has an entry for a tensor, deepcopy uses the entry. Enter meta tensors for all weights.
    memo: dict[int, object] = {id(b): torch.empty_like(b, device="meta") for b in network.buffers()}
    for p in network.parameters():
        memo[id(p)] = nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=False)
    return copy.deepcopy(network, memo)


def _part(name: str) -> Literal["backbone", "temporal", "classifier"]:
    """Return which part of a Network contains the parameter or module with this dotted name."""
    if "temporal" in name.split("."):
        return "temporal"
    return "classifier" if name.startswith("head") else "backbone"


def _check_kind(name: str, module: nn.Module) -> None:
    known = isinstance(module, AnyConv | AnyBatchNorm | nn.Linear | nn.LayerNorm) or hasattr(module, "taps")
    if not known and list(module.parameters(recurse=False)):
        raise UserError(f"{name}: the operations of a {type(module).__name__} cannot be counted")


def _count_call(
    counts: dict[str, Count],
    part: str,
    module: nn.Module,
    inputs: tuple[torch.Tensor],
    output: object,
) -> None:
    """Add the operations of one call of a module to the counts of the module's part (as a forward hook).

    A block that returns several tensors has no operations of its own, but those of its layers.
    """
    if isinstance(output, torch.Tensor):
        counts[part] += _operations(module, inputs, output)


def _operations(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> Count:
    """Count the operations of one call of a module. Operations of its child modules are not included."""
    elements = output.numel()
    if published := getattr(module, "published_operations", None):
        return Count(dense=published(inputs[0].shape))
    if isinstance(module, AnyConv):
        return Count(dense=elements * module.weight[0].numel())
    if isinstance(module, nn.Linear):
        return Count(dense=elements * module.in_features)
    if isinstance(module, AnyBatchNorm):
        return Count(norms=elements)
    # Modules declare operations outside of PyTorch layers as `taps` and `attention_products`.
    products = getattr(module, "attention_products", None)
    return Count(
        taps=elements * getattr(module, "taps", 0),
        products=products(*(tensor.shape for tensor in inputs)) if products else 0,
    )

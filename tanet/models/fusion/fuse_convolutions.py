"""Replace convolutions in a traced network by operators that compute more in one kernel, for inference.

    ReLU(conv(x) + b)                                          → conv_relu (ops/convolution)
    ReLU(conv(x) + b + r)                                      → conv_relu; r: residual
    ReLU(conv(x) + b + conv'(z) + b')                          → conv_pair_relu, for 1×1 convolutions
    conv of images, stride 2 [→ ReLU [→ max pooling]]          → stem_conv (ops/stem_convolution)
    depthwise 3D conv [→ ReLU]                                 → depthwise_conv (ops/depthwise_convolution)

The rules rewrite the graph that `torch.compile` traces. It lists operations in call order, including those of
temporal modules and other hooks, so the rules do not depend on how a block is written.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch.fx import Graph, GraphModule, Node
from torch.nn import functional as F

from tanet.ops.common.dispatch import runs_kernels
from tanet.ops.common.memory_format import channels_last
from tanet.ops.convolution import op as convolution  # noqa: F401 (defines the operators)
from tanet.ops.depthwise_convolution import op as depthwise
from tanet.ops.stem_convolution import op as stem  # noqa: F401 (defines the operator)
from tanet.ops.stem_convolution import packing

CONVOLUTIONS = (torch.conv2d, torch.conv3d)
IN_PLACE = (operator.iadd, operator.isub, operator.imul, operator.setitem, torch.relu_)
STEM_CONV, DEPTHWISE_CONV = torch.ops.tanet.stem_conv.default, torch.ops.tanet.depthwise_conv.default
CONV_RELU, CONV_PAIR_RELU = torch.ops.tanet.conv_relu.default, torch.ops.tanet.conv_pair_relu.default
# The new node, and the nodes to erase beside the one that the rule was called with, each before its inputs.
_Made = tuple[Node, Sequence[Node]]


class _Conv(NamedTuple):
    """Arguments of a convolution in a graph."""

    node: Node
    x: Node
    weight: Node
    bias: Node | None
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int


def compile_fused(graph_module: GraphModule, inputs: list[Any], *, graph: bool) -> Callable[..., Any]:
    """Compile a traced network with fused convolutions; the `backend` of `torch.compile`.

    Args:
        graph_module: the traced network.
        inputs: example inputs.
        graph: whether to capture a CUDA graph.
    """
    import torch._inductor

    fuse_convolutions(graph_module)
    options = {"triton.cudagraphs": graph}
    return torch._inductor.compile(graph_module, inputs, options=options)  # type: ignore[return-value]


def fuse_convolutions(graph_module: GraphModule) -> int:
    """Replace convolutions in a graph traced by `torch.compile`, in place.

    Only convolutions on a GPU whose weights are in channels-last are replaced. In float32, only depthwise
    convolutions are replaced: the Triton kernels of the others would ignore PyTorch's TF32 setting.

    Returns:
        Number of replaced convolutions.
    """
    graph, replaced = graph_module.graph, 0
    for rule in RULES:
        for node in list(graph.nodes):
            if (made := rule(graph, node)) is None:
                continue
            new, unused = made
            new.meta.update(node.meta)
            node.replace_all_uses_with(new)
            # Erase only these nodes: a general search for unused nodes would also erase operations in place.
            for old in (node, *unused):
                graph.erase_node(old)
            replaced += 1
    graph_module.recompile()
    return replaced


def _conv(node: object, *, half: bool = True) -> _Conv | None:
    """Return the arguments of a convolution that may be replaced, or None.

    Args:
        node: any argument of a node.
        half: whether the convolution must be in bfloat16 or float16.
    """
    if not isinstance(node, Node) or node.op != "call_function" or node.target not in CONVOLUTIONS:
        return None
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    x, weight = given["input"], given["weight"]
    assert isinstance(x, Node)
    if (
        not isinstance(weight, Node)
        or isinstance(given.get("padding"), str)
        or any(_in_place(user) for user in x.users)  # the new operator may run later than the convolution
        or not _replaceable(_value(weight), half=half)
    ):
        return None
    axes = _value(weight).ndim - 2

    def each(name: str, default: int) -> list[int]:
        value = given.get(name, default)
        return [value] * axes if isinstance(value, int) else list(value)  # type: ignore[call-overload]

    bias = given.get("bias")
    assert bias is None or isinstance(bias, Node)
    groups = given.get("groups", 1)
    assert isinstance(groups, int)
    return _Conv(node, x, weight, bias, each("stride", 1), each("padding", 0), each("dilation", 1), groups)


def _replaceable(weight: torch.Tensor, *, half: bool) -> bool:
    """Return whether convolutions with this weight may be replaced."""
    dtypes = (torch.bfloat16, torch.float16) if half else (torch.bfloat16, torch.float16, torch.float32)
    return (
        weight.is_cuda
        and runs_kernels(weight.device.index)
        and weight.dtype in dtypes
        and weight.is_contiguous(memory_format=channels_last(weight))
    )


def _single_operator(graph: Graph, node: Node) -> _Made | None:
    """Insert `stem_conv` or `depthwise_conv` for a convolution that one of them can compute."""
    if (conv := _conv(node, half=False)) is None or max(conv.dilation) > 1:
        return None
    weight, flat = _value(conv.weight), _value(conv.weight).ndim == 4
    with graph.inserting_before(node):
        if _conv(node) is not None and packing.fits(weight, conv.stride, conv.padding, conv.groups):
            packed = graph.call_function(packing.pack_weight, (conv.weight,))
            x = graph.call_method("unsqueeze", (conv.x, 2)) if flat else conv.x
            step, size = 1 if flat else conv.stride[0], weight.shape[-1]
            arguments = (x, packed, conv.bias, size, step, False, False)
            y = graph.call_function(STEM_CONV, arguments)
            return (graph.call_method("squeeze", (y, 2)) if flat else y), ()
        if not flat and depthwise.fits(weight, conv.padding, conv.groups):
            arguments = (conv.x, conv.weight, conv.bias, conv.stride, False)
            return graph.call_function(DEPTHWISE_CONV, arguments), ()
    return None


def _conv_relu(graph: Graph, relu: Node) -> _Made | None:
    """Insert the operator that computes a ReLU and the convolution or convolutions before it."""
    before = relu.args[0] if _is_relu(relu) else None
    if not isinstance(before, Node) or len(before.users) > 1:
        return None
    if _with_relu(before):
        return before, ()
    conv, residual, unused = _conv(before), None, [before]
    if conv is None:
        if (pair := _convolution_and_residual(before)) is None:
            return None
        conv, residual = pair
        unused.append(conv.node)
    bias = conv.bias
    with graph.inserting_before(relu):
        other = None if residual is None else _conv(residual)
        if other is not None and len(other.node.users) == 1:
            if other.bias is not None:
                bias = other.bias if bias is None else graph.call_function(operator.add, (bias, other.bias))
            if _pointwise(conv) and _pointwise(other) and max(conv.stride) == 1:
                both = (conv.x, conv.weight, other.x, other.weight, bias, other.stride)
                return graph.call_function(CONV_PAIR_RELU, both), (*unused, other.node)
            other.node.args, other.node.kwargs = (other.x, other.weight, None, *other[4:]), {}
        arguments = (*conv[1:3], bias, residual, *conv[4:])
        return graph.call_function(CONV_RELU, arguments), unused


def _pointwise(conv: _Conv) -> bool:
    """Return whether a convolution has a window of one position, no padding and one group."""
    return _value(conv.weight).shape[2:].numel() == 1 and not any(conv.padding) and conv.groups == 1


def _with_relu(node: Node) -> bool:
    """Make a `stem_conv` or `depthwise_conv` also compute the ReLU after it. Return whether there is one."""
    source = _before_squeeze(node)
    if source.target not in (STEM_CONV, DEPTHWISE_CONV) or len(source.users) > 1:
        return False
    position = 5 if source.target == STEM_CONV else 4
    source.args = (*source.args[:position], True, *source.args[position + 1 :])
    return True


def _with_pooling(_: Graph, node: Node) -> _Made | None:
    """Make a `stem_conv` also compute the max pooling after it.

    The window of the pooling must be 3 × 3 with stride 2 and padding 1, that of the convolution one frame.
    """
    if node.op != "call_function" or node.target not in (F.max_pool2d, F.max_pool3d):
        return None
    names = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    made = given["input"]
    assert isinstance(made, Node)
    source = _before_squeeze(made)
    if source.target != STEM_CONV or len(source.users) > 1 or len(made.users) > 1:
        return None
    flat = node.target == F.max_pool2d

    def matches(name: str, *, side: int, along_time: int) -> bool:
        value = given.get(name, 1)
        sizes = [value] * (2 if flat else 3) if isinstance(value, int) else list(value)  # type: ignore[call-overload]
        return sizes == [*([] if flat else [along_time]), side, side]

    usual = (
        matches("kernel_size", side=3, along_time=1)
        and matches("stride", side=2, along_time=1)
        and matches("padding", side=1, along_time=0)
        and matches("dilation", side=1, along_time=1)
        and not (given.get("ceil_mode") or given.get("return_indices"))
    )
    weight = _value(source.args[1].args[0])  # type: ignore[union-attr, arg-type]
    if not usual or source.args[4] != 1 or (weight.ndim == 5 and weight.shape[2] > 1):
        return None
    source.args = (*source.args[:6], True)
    return made, ()


def _before_squeeze(node: Node) -> Node:
    """Return the input of a call of `squeeze`, and any other node itself."""
    squeezed = node.op == "call_method" and node.target == "squeeze" and isinstance(node.args[0], Node)
    return node.args[0] if squeezed else node  # type: ignore[return-value]


def _convolution_and_residual(node: Node) -> tuple[_Conv, Node] | None:
    """Return the convolution whose output is added to a residual, and the residual, if `node` is that sum."""
    if node.target not in (operator.add, operator.iadd, torch.add) or node.kwargs or len(node.args) != 2:
        return None
    left, right = node.args
    # `left += right` also changes what other operations see of the left side, unless that is the convolution.
    pairs = [(left, right)] if node.target == operator.iadd else [(left, right), (right, left)]
    found = []
    for one, other in pairs:
        conv = _conv(one)
        if conv is None or not isinstance(other, Node) or other is one or len(conv.node.users) > 1:
            continue
        if _value(other).shape == _value(conv.node).shape and _value(other).dtype == _value(conv.node).dtype:
            found.append((conv, other))
    # Of a block's last convolution and that of its shortcut, take the one without a stride: it has more ways.
    return min(found, key=lambda pair: max(pair[0].stride), default=None)


def _in_place(node: Node) -> bool:
    """Return whether an operation may change its first argument."""
    method = node.op == "call_method" and str(node.target).endswith("_")
    return method or bool(node.kwargs.get("inplace")) or node.target in IN_PLACE


def _is_relu(node: Node) -> bool:
    return (node.op == "call_function" and node.target in (F.relu, torch.relu, torch.relu_)) or (
        node.op == "call_method" and node.target in ("relu", "relu_")
    )


def _value(node: Node) -> torch.Tensor:
    """Return a tensor without data that has the shape, the data type and the strides of a node's result."""
    return node.meta["example_value"]


RULES = (_single_operator, _conv_relu, _with_pooling)

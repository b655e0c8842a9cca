"""Replace means over all positions of a map by an operator of their own, for inference on a GPU.

PyTorch's compiler reduces maps in channels-last at a quarter of the memory's speed.
"""

import operator
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.nn import functional as F

from tanet.ops.convolution.op import channels_last

SPATIAL_MEAN = torch.ops.tanet.spatial_mean.default


def fuse_means(graph_module: GraphModule) -> int:
    """Replace spatial means of channels-last maps in a graph traced by `torch.compile`, in place.

    Returns:
        Number of replaced means.
    """
    graph, replaced = graph_module.graph, 0
    for node in list(graph.nodes):
        if (keepdim := _spatial_mean(node)) is None:
            continue
        with graph.inserting_before(node):
            new = graph.call_function(SPATIAL_MEAN, (node.args[0],))
            if keepdim:
                axes = node.args[0].meta["example_value"].ndim - 2
                new = graph.call_function(operator.getitem, (new, (..., *[None] * axes)))  # type: ignore[arg-type]
        new.meta.update(node.meta)
        node.replace_all_uses_with(new)
        graph.erase_node(node)
        replaced += 1
    graph_module.recompile()
    return replaced


def _spatial_mean(node: Node) -> bool | None:
    """Return whether a mean over all positions keeps their axes. Return None for other operations."""
    x = node.args[0] if node.args else None
    maps = x.meta.get("example_value") if isinstance(x, Node) else None
    if not isinstance(maps, torch.Tensor) or maps.ndim not in (4, 5) or not _replaceable(maps):
        return None
    if node.op == "call_function" and node.target in (F.adaptive_avg_pool2d, F.adaptive_avg_pool3d):
        size = node.args[1] if len(node.args) > 1 else node.kwargs.get("output_size")
        sizes = [size] if isinstance(size, int) else list(size)  # type: ignore[call-overload]
        return True if all(side == 1 for side in sizes) else None
    if node.op == "call_method" and node.target == "mean" and not node.kwargs.keys() - {"dim", "keepdim"}:
        given = dict(zip(("dim", "keepdim"), node.args[1:], strict=False)) | node.kwargs
        axes: Any = given.get("dim")
        spatial = list(range(2, maps.ndim))
        if isinstance(axes, tuple | list) and sorted(axis % maps.ndim for axis in axes) == spatial:
            return bool(given.get("keepdim", False))
    return None


def _replaceable(maps: torch.Tensor) -> bool:
    """Return whether a mean of these maps may be replaced."""
    return maps.is_cuda and maps.is_contiguous(memory_format=channels_last(maps))

"""Estimate the memory that training needs before it starts: bytes per device, for c clips and p parameters.

    p · (4 weights + 4 gradients + 4 momentum, 8 with AdamW)  +  in bfloat16: p · 2
    + c · bytes that autograd keeps of one clip, halved in bfloat16  +  c · bytes of the clip in float32

One forward pass on PyTorch's meta device, which holds no data, counts the bytes that autograd keeps. Real
usage is lower where kernels recompute activations, and higher because of gaps in the allocator's memory:
compiled training of ResNet-50 was measured at 0.93 (with TAM) and 0.99 (without) of the estimate.
"""

import torch

from tanet.errors import UserError
from tanet.models.video_net import VideoNet
from tanet.profiling.flops import build_on_meta
from tanet.recipes.recipe import Recipe


def training_memory(recipe: Recipe, *, classes: int, clips: int, half: bool) -> int:
    """Estimate the bytes that training needs on one device.

    Args:
        recipe: its model, optimizer and frame size determine the memory.
        classes: number of classes.
        clips: clips of one step on this device.
        half: train in bfloat16, which halves the bytes that autograd keeps.

    Raises:
        UserError: the network cannot be built, or frames of data.size pixels do not fit it.
    """
    network, size = build_on_meta(recipe.model, classes=classes), recipe.data.size
    parameters = sum(parameter.numel() for parameter in network.parameters())
    state = 8 if recipe.optim.method == "adamw" else 4
    kept = _kept_by_autograd(network, size=size)
    clip = 4 * network.frames * 3 * size * size
    return parameters * (8 + state + 2 * half) + clips * (kept // (2 if half else 1) + clip)


def _kept_by_autograd(network: VideoNet, *, size: int) -> int:
    """Return the bytes that the float32 forward pass of one clip keeps for backward, without the weights."""
    own = {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage  # hold it, so that its address is not reused
        return tensor

    clip = torch.empty(1, network.frames, 3, size, size, device="meta")
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            logits = network.train()(clip)
    except RuntimeError as error:
        cause = str(error).splitlines()[0]
        raise UserError(f"frames of {size} × {size} pixels do not fit this network: {cause}") from error
    del logits
    return sum(storage.nbytes() for storage in kept.values())

"""Memory that training takes, estimated before it starts: bytes on a device, for c clips and p parameters.

    p · (4 weights + 4 gradients + 4 momentum, 8 of AdamW)  +  in bfloat16: p · 2
    + c · what autograd keeps of one clip, in bfloat16 halved  +  c · the clip in float32

What autograd keeps is counted by one forward pass on PyTorch's meta device, which holds no numbers. Kernels
that recompute take less, the allocator's gaps more: compiled training of ResNet-50 was measured at 0.93 (with
TAM) and 0.99 (without) of the estimate.
"""

import torch

from tanet.errors import UserError
from tanet.models.video_net import VideoNet
from tanet.profiling.flops import build_on_meta
from tanet.recipes.recipe import Recipe


def training_memory(recipe: Recipe, *, classes: int, clips: int, half: bool) -> int:
    """Bytes that training takes on a device with `clips` of a step's clips; `half` of float32's in bfloat16.

    Raises:
        UserError: the network can not be built, or frames of data.size do not pass it.
    """
    network, size = build_on_meta(recipe.model, classes=classes), recipe.data.size
    parameters = sum(parameter.numel() for parameter in network.parameters())
    state = 8 if recipe.optim.method == "adamw" else 4
    kept = _kept_by_autograd(network, size=size)
    clip = 4 * network.frames * 3 * size * size
    return parameters * (8 + state + 2 * half) + clips * (kept // (2 if half else 1) + clip)


def _kept_by_autograd(network: VideoNet, *, size: int) -> int:
    """Bytes of float32 that a backward pass needs of the forward pass of one clip, weights apart."""
    own = {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage  # held, so that no other gets its number
        return tensor

    clip = torch.empty(1, network.frames, 3, size, size, device="meta")
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            logits = network.train()(clip)
    except RuntimeError as error:
        cause = str(error).splitlines()[0]
        raise UserError(f"frames of {size} × {size} pixels do not pass this network: {cause}") from error
    del logits
    return sum(storage.nbytes() for storage in kept.values())

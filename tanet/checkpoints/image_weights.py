"""Loading of ImageNet weights into networks for videos: 2D networks as they are, others by their 2D layers.

2D network       all but temporal modules; GST takes a slice of each 3×3 kernel, STM the whole kernel;
                 for optical flow, the mean of the first kernels (models/input_channels.py)
3D ResNet        inflated (inflate.py); also the 3D ResNet in a network with a graph of regions
bLVNet-TAM       bLResNet
ECO              BN-Inception, as far as ECO has its layers
CPNet            ResNet-18 or ResNet-34; the biases of its convolutions start at zero
"""

import dataclasses
import re
from pathlib import Path

import torch
from torch import nn

from tanet.checkpoints.convert.recognise import image_weights, recognise_backbone
from tanet.checkpoints.inflate import INFLATED, NO_IMAGE_WEIGHTS, load_inflated_weights
from tanet.checkpoints.weights import WeightsFile, is_tanets, read_weights, state_dict_diff
from tanet.errors import UserError
from tanet.models.input_channels import for_input_channels
from tanet.models.network import Network
from tanet.models.video_net import VideoNet
from tanet.recipes.input_spec import IMAGENET, spec_like
from tanet.recipes.network2d import Network2D
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.networks3d import ResNet3D
from tanet.recipes.networks_hybrid import ECO, BLVNet, CPNet, RegionGraphNet

State = dict[str, torch.Tensor]
CPNET = (
    (r"^conv1\.", "stem.conv."),
    (r"^bn1\.", "stem.bn."),
    (r"downsample\.0\.", "shortcut.conv."),
    (r"downsample\.1\.", "shortcut.bn."),
    (r"^(layer\d\.\d+\.)conv(\d)\.", r"\1conv\2.conv."),
    (r"^(layer\d\.\d+\.)bn(\d)\.", r"\1conv\2.bn."),
)
ECO_2D = "layers2d."


def load_image_weights(network: Network, path: str | Path, *, model: NetworkSettings) -> None:
    """Load ImageNet weights into a network. Weights that the file does not have stay as they are.

    A network with 3D layers in the place of 2D layers gets ImageNet's normalisation.

    Raises:
        UserError: the file cannot be read, some weights do not fit, or the network has no 2D counterpart.
    """
    if isinstance(network, VideoNet):
        load_backbone_weights(network.backbone, path)
    elif isinstance(model, ResNet3D | RegionGraphNet):
        inner = network if isinstance(model, ResNet3D) else network.get_submodule("video")
        assert isinstance(inner, Network)
        load_inflated_weights(inner, path)
        network.input_spec = spec_like(network.input_spec, IMAGENET)
    elif isinstance(model, ECO | BLVNet | CPNet):
        _load_hybrid(network, path, model)
    else:
        raise _no_image_weights(path, "ImageNet weights", model)


def load_backbone_weights(backbone: nn.Module, path: str | Path) -> None:
    """Load ImageNet weights into a 2D network.

    The network may contain temporal modules, whose weights are not changed. The classifier in the file is
    loaded if the network has one, and otherwise left out.

    Raises:
        UserError: the file cannot be read, or some weights do not fit. The message names these weights.
    """
    state = _image_file(path).state
    own = {name: tensor for name, tensor in backbone.state_dict().items() if ".temporal." not in name}
    theirs, ours = recognise_backbone(state), recognise_backbone(_without_space(own))
    if theirs and ours and theirs != ours:
        raise UserError(
            f"{path}: the weights do not fit this network: the file has backbone {theirs}, model.backbone is "
            f"{ours}; leave out --model.backbone, or start from another file"
        )
    if theirs:
        classifier = {name: tensor for name, tensor in state.items() if name in own}
        state = {**classifier, **image_weights(state)}
    state = {k: v for k, v in state.items() if k in own or not k.startswith(("fc.", "classifier."))}
    state = for_input_channels(_cut(state, own), backbone)
    if difference := state_dict_diff(state, own):
        raise UserError(f"{path}: the weights do not fit this 2D network; {difference}")
    backbone.load_state_dict(state, strict=False)


def _image_file(path: str | Path) -> WeightsFile:
    file = read_weights(path)
    if is_tanets(file.beside):
        raise UserError(f"{path}: {NO_IMAGE_WEIGHTS}")
    return file


def _without_space(own: State) -> State:
    """Rename convolutions inside temporal modules to their plain 2D names."""
    return {name.replace(".conv2.space.", ".conv2."): tensor for name, tensor in own.items()}


def _cut(state: State, own: State) -> State:
    """Rename and slice 3×3 kernels to fit the temporal modules that contain them."""
    found = {}
    for name, tensor in state.items():
        inner = name.replace(".conv2.", ".conv2.space.")
        if name not in own and inner in own:
            outputs, inputs = own[inner].shape[:2]
            name, tensor = inner, tensor[:outputs, :inputs]
        found[name] = tensor
    return found


def _load_hybrid(network: Network, path: str | Path, model: ECO | BLVNet | CPNet) -> None:
    """Load the 2D layers of ECO, bLVNet-TAM or CPNet."""
    own = network.state_dict()
    state = _image_file(path).state
    found = recognise_backbone(state)
    needed = _image_backbone(model)
    if found != needed:
        other = found or "another network"
        raise UserError(f"{path}: the weights of {other} do not fit {model.title}: those of {needed} do")
    state = image_weights(state)
    if isinstance(model, CPNet):
        state = {_cpnet_name(name): tensor for name, tensor in state.items()}
        state |= {name: torch.zeros_like(own[name]) for name in own if name.endswith("conv.bias")}
    elif isinstance(model, ECO):
        state = {f"{ECO_2D}{name}": tensor for name, tensor in state.items() if f"{ECO_2D}{name}" in own}
    expected = {
        name: tensor
        for name, tensor in own.items()
        if not re.search(r"(^|\.)temporal\.|^head\.", name)
        and (not isinstance(model, ECO) or name.startswith(ECO_2D))
    }
    if difference := state_dict_diff(state, expected):
        raise UserError(f"{path}: the weights do not fit {model.title}; {difference}")
    network.load_state_dict(state, strict=False)


def _image_backbone(model: ECO | BLVNet | CPNet) -> str:
    if isinstance(model, ECO):
        return "bn_inception"
    return f"blresnet{model.depth}" if isinstance(model, BLVNet) else f"resnet{model.depth}"


def _cpnet_name(name: str) -> str:
    for pattern, new in CPNET:
        name = re.sub(pattern, new, name)
    return re.sub(r"^layer(\d)\.", lambda match: f"res{int(match[1]) + 1}.", name)


def image_model(path: str | Path, model: NetworkSettings, *, backbone: str) -> NetworkSettings:
    """Return the settings of a network that starts from the ImageNet weights of a 2D network.

    Raises:
        UserError: the network cannot start from these weights.
    """
    start = {"weights": str(path), "init": ""}
    if isinstance(model, Network2D):
        return dataclasses.replace(model, backbone=backbone, **start)
    if isinstance(model, ResNet3D) and backbone in INFLATED:
        return dataclasses.replace(model, blocks=INFLATED[backbone], **start)
    if isinstance(model, RegionGraphNet) and backbone == "resnet50":
        return dataclasses.replace(model, **start)
    if isinstance(model, ECO | BLVNet | CPNet) and backbone == _image_backbone(model):
        return dataclasses.replace(model, **start)
    raise _no_image_weights(path, f"the ImageNet weights of {backbone}", model)


def _no_image_weights(path: str | Path, weights: str, model: NetworkSettings) -> UserError:
    """Return the error for ImageNet weights and a network that cannot start from them."""
    needed = (
        f"{_image_backbone(model)} does"
        if isinstance(model, ECO | BLVNet | CPNet)
        else ("this network cannot start from ImageNet weights")
    )
    return UserError(f"{path}: {weights} do not fit {model.title}: {needed}")

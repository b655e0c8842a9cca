"""What a training starts with: its videos looked at, its network built, on its device and wrapped."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tanet.checkpoints.initialize import load_2d_weights, load_start
from tanet.data.annotations import read_split
from tanet.data.samples import Split
from tanet.models.factory import build
from tanet.models.video_net import VideoNet
from tanet.recipes.recipe import Recipe
from tanet.runtime.distributed import Peers


def training_split(recipe: Recipe, *, world: int) -> Split:
    """The videos of a recipe that several processes are to train on.

    Raises:
        ValueError: there are none, or of one class alone; or the batch can not be split evenly.
    """
    split, optim = read_split(recipe.data, seed=recipe.seed), recipe.optim
    if not split.train:
        raise ValueError("no training videos found")
    if len(split.classes) < 2:
        names = ", ".join(split.classes)
        raise ValueError(f"only one class found ({names}): is {recipe.data.root} one folder too high?")
    if optim.batch % (world * optim.accumulate):
        raise ValueError(
            f"optim.batch {optim.batch} can not be split into equal parts "
            f"for {world} processes × optim.accumulate {optim.accumulate}"
        )
    if len(split.train) < world:
        raise ValueError(f"{len(split.train)} training videos are too few for {world} processes")
    return split


def starting_network(
    recipe: Recipe,
    classes: tuple[str, ...],
    *,
    device: torch.device,
    peers: Peers,
    resumed: bool,
    fused: bool,
    note: Callable[[str], None],
) -> VideoNet:
    """The recipe's network on its device, in channels-last memory.

    Args:
        recipe: its `model`, `seed` and `optim.sync_norm` count.
        classes: names in the order of the logits.
        device: where it is to learn.
        peers: who learns together. From here on each has random numbers of its own.
        resumed: the weights come from a state, so that no file of weights is read.
        fused: let each TAM take in the BatchNorm before it (fuse.py).
        note: is told lines about the weights to start from.

    Raises:
        ValueError: it can not be built, its first weights do not fit, or sync_norm is asked of a CPU.
    """
    model = recipe.model
    torch.manual_seed(recipe.seed)
    network = build(model, classes=len(classes))
    if model.weights and not resumed:
        load_2d_weights(network.backbone, model.weights)
    if model.init and not resumed:
        interpolate = model.init_frames == "interpolate"
        for line in load_start(network, model.init, model=model, classes=classes, interpolate=interpolate):
            note(line)
    if recipe.optim.sync_norm and device.type != "cuda":
        raise ValueError("optim.sync_norm needs GPUs: PyTorch's SyncBatchNorm does not run on a CPU")
    if recipe.optim.sync_norm and peers.world > 1:
        sync_norms(network)
    if fused:
        network.fuse()
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if peers.rank:
        torch.manual_seed(recipe.seed + 1_000_003 * peers.rank)
    return network


def sync_norms(network: nn.Module) -> None:
    """Make every BatchNorm below the network a SyncBatchNorm, in place.

    PyTorch makes new modules and leaves the hooks with the old ones; a temporal module after a BatchNorm
    (position d) acts by such a hook (plug.py).
    """
    norms = {name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)}
    nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for name, norm in norms.items():
        synced = network.get_submodule(name)
        for before in norm._forward_pre_hooks.values():
            synced.register_forward_pre_hook(before)
        for after in norm._forward_hooks.values():
            synced.register_forward_hook(after)

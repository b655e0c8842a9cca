"""Prepare a training run: read the lists of videos, and build the network, optimizer and data loader."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tanet.checkpoints.image_weights import load_image_weights
from tanet.checkpoints.initialize import load_initial_weights
from tanet.checkpoints.sources import file_of
from tanet.data.annotations import read_split
from tanet.data.class_folders import one_class
from tanet.data.dataset import EpochSampler, TrainClips
from tanet.data.loader import ClipLoader
from tanet.data.samples import Split
from tanet.errors import UserError
from tanet.models.factory import build
from tanet.models.freeze import describe_trained, freeze
from tanet.models.fusion.packed_stem import pack_stems
from tanet.models.network import Network
from tanet.recipes.input_spec import spec_of
from tanet.recipes.recipe import Recipe
from tanet.runtime.distributed import ProcessGroup
from tanet.runtime.events import Note, OnEvent
from tanet.runtime.interrupt import StopRequest
from tanet.training.nonfinite import NonFiniteMonitor
from tanet.training.norm_statistics import NormStatistics
from tanet.training.optimizer import make_optimizer
from tanet.training.training_state import TrainingState
from tanet.training.validation import Validation

# Difference between the seeds of two neighbouring ranks. A large prime keeps runs with similar seeds apart.
RANK_SEED_STEP = 1_000_003


@dataclass(frozen=True)
class TrainingContext:
    """Settings of a training run that are not part of its recipe, such as the ranks and the device."""

    group: ProcessGroup
    device: torch.device
    on_event: OnEvent
    stop: StopRequest
    compile: bool
    save_after: float
    """Seconds between two saved states."""
    on_network: Callable[[Network], None] | None = None
    """Function that is called with the network, in training mode, before the first step."""


@dataclass(frozen=True)
class TrainingParts:
    """The objects that the training loop uses."""

    network: Network
    optimizer: torch.optim.Optimizer
    order: EpochSampler
    loader: ClipLoader
    nonfinite: NonFiniteMonitor
    norm_statistics: NormStatistics
    validation: Validation


def read_training_split(recipe: Recipe, *, world_size: int) -> Split:
    """Read the lists of videos of a recipe, and check that `world_size` processes can train on these videos.

    Raises:
        UserError: there are no training videos, fewer training videos than processes, or fewer than two
            classes; or the batch cannot be split into equal parts.
    """
    split, optim = read_split(recipe.data, seed=recipe.seed), recipe.optim
    if not split.train:
        raise UserError("no training videos found")
    if len(split.classes) < 2:
        names = ", ".join(split.classes)
        raise UserError(one_class(Path(recipe.data.root), names))
    if optim.batch % (world_size * optim.accumulate):
        raise UserError(
            f"optim.batch {optim.batch} cannot be split into equal parts "
            f"for {world_size} processes × optim.accumulate {optim.accumulate}"
        )
    if len(split.train) < world_size:
        raise UserError(f"{len(split.train)} training videos are too few for {world_size} processes")
    return split


def prepare(
    recipe: Recipe, split: Split, context: TrainingContext, *, state: TrainingState | None
) -> TrainingParts:
    """Build everything that the training loop uses.

    Args:
        recipe: the experiment.
        split: the training and validation videos.
        context: the ranks, the device and other settings of the run.
        state: the saved state that the run resumes from. With a state, no weights file is read.

    Raises:
        UserError: the network cannot be built, or the initial weights do not fit the network.
    """
    optim, group, device = recipe.optim, context.group, context.device
    network = build_network(recipe, split.classes, context, resumed=state is not None)
    if state is not None:
        trained = state.temporal_trained
        network.temporal_trained = bool(recipe.model.init) if trained is None else trained
    freeze(network, trained=optim.trained, partial_norm=optim.partial_norm)
    unexpected = network.temporal_trained != bool(recipe.model.init)
    if optim.trained != "all" and network.frozen and unexpected:  # the plan cannot know this
        context.on_event(Note(describe_trained(network, trained=optim.trained)))
    optimizer = make_optimizer(network, optim, trained=network.temporal_trained)
    if context.on_network:
        context.on_network(network.train())
    clips = TrainClips(
        split.train,
        recipe.data,
        frames=recipe.model.frames,
        flows=recipe.model.flows_per_frame,
        classes=split.classes,
        seed=recipe.seed,
    )
    order = EpochSampler(len(clips), seed=recipe.seed, rank=group.rank, world_size=group.world_size)
    loader = ClipLoader(
        clips,
        batch=optim.batch // group.world_size,
        data=recipe.data,
        order=order,
        device=device,
        on_event=context.on_event,
    )
    nonfinite = NonFiniteMonitor(optim.nonfinite, group=group, on_event=context.on_event)
    validation = Validation(recipe, split, group=group, on_event=context.on_event, stop=context.stop)
    statistics = NormStatistics(recipe, split, device=device)
    return TrainingParts(network, optimizer, order, loader, nonfinite, statistics, validation)


def build_network(
    recipe: Recipe, classes: tuple[str, ...], context: TrainingContext, *, resumed: bool
) -> Network:
    """Build the network of a recipe on the training device, in the network's memory format.

    The ranks build the network with the same random seed, and each rank continues with its own seed.
    If a network is compiled for a GPU, each TAM also computes the BatchNorm before the TAM (fuse_tam.py), and
    the first layer packs its pixels (packed_stem.py).

    Args:
        recipe: the experiment. Only `model`, `seed`, `optim.sync_norm` and the input specification are used.
        classes: class names, in the order of the logits.
        context: the ranks and the device. `context.on_event` receives `Note`s about the initial weights.
        resumed: whether the weights come from a saved state. In this case, no weights file is read.

    Raises:
        UserError: the network cannot be built, the initial weights do not fit the network, or
            `optim.sync_norm` is set on a CPU.
    """
    group, device = context.group, context.device
    torch.manual_seed(recipe.seed)
    model = recipe.model
    network = build(model, classes=len(classes), input_spec=spec_of(recipe))
    if not resumed and (source := model.weights or model.init):
        path = file_of(source, on_event=context.on_event)  # downloads published weights
        if model.weights:
            load_image_weights(network, path, model=model)
    if model.init and not resumed:
        interpolate = model.init_frames == "interpolate"
        for line in load_initial_weights(
            network, model.init, model=model, classes=classes, interpolate=interpolate
        ):
            context.on_event(Note(line))
    if recipe.optim.sync_norm and device.type != "cuda":
        raise UserError("optim.sync_norm needs GPUs: PyTorch's SyncBatchNorm does not run on a CPU")
    if recipe.optim.sync_norm and group.world_size > 1:
        convert_sync_batch_norms(network)
    if context.compile and device.type == "cuda":
        network.absorb_batch_norms()
        pack_stems(network)
    network.to(device)
    network.to_format(network.memory_format)
    if group.rank:
        torch.manual_seed(recipe.seed + RANK_SEED_STEP * group.rank)
    return network


def convert_sync_batch_norms(network: nn.Module) -> None:
    """Replace every BatchNorm in the network by a SyncBatchNorm, in place.

    PyTorch's conversion creates new modules without the hooks of the old modules, so this function copies the
    hooks. The hooks are needed because a temporal module after a BatchNorm (position d) runs in a hook of the
    BatchNorm (plug.py).
    """
    norms = {name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)}
    nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for name, norm in norms.items():
        synced = network.get_submodule(name)
        for before in norm._forward_pre_hooks.values():
            synced.register_forward_pre_hook(before)
        for after in norm._forward_hooks.values():
            synced.register_forward_hook(after)

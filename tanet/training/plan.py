"""The plan of a training run, which is printed before training starts.

The plan shows the number of videos, the steps, the learning-rate schedule, the estimated memory
(profiling/memory.py), changed fields and warnings. To find changed fields, the recipe is compared with its
reference, which is the unchanged recipe of the same name in recipes/. The warnings are about settings that
usually do harm: for example, the batch size was changed but not the learning rate, or a milestone is never
reached. A warning never stops a run.
"""

from dataclasses import dataclass

import torch

from tanet.data.samples import Split
from tanet.models.freeze import describe_trained
from tanet.profiling.memory import frozen_on_meta, training_memory
from tanet.recipes.diff import changed_fields
from tanet.recipes.network2d import Network2D
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.recipe import Optim, Recipe
from tanet.training.norm_statistics import trained_norms, videos_for_statistics
from tanet.training.plan_cost import recipe_for_cpu
from tanet.training.plan_warnings import _against, _of_data, _of_optim, _of_sizes
from tanet.training.schedule import lr_at, peak_lr, shorten_schedule, steps_per_epoch, warmup_start_lr


@dataclass(frozen=True)
class Plan:
    """The plan of a training run, as numbers and texts."""

    train: int
    """Number of training videos."""
    val: int
    """Number of validation videos."""
    classes: int
    world_size: int
    """Number of processes that train together, each on its own device."""
    batch: int
    """Clips per step, over all ranks."""
    steps: int
    """Steps per epoch."""
    epochs: int
    schedule: str
    """Text that describes the learning-rate schedule, in steps."""
    start: str
    """Text that says where the initial weights come from."""
    memory: int
    """Estimated memory for training on each device, in bytes."""
    trained: str = ""
    """Text that says how many parameters are trained, and which layers; "" if no layer is frozen."""
    every: int = 1
    """Epochs between two validations. The last epoch is always validated."""
    device: str = "cpu"
    """Kind of device to train on, such as "cpu" or "cuda"."""
    cheaper: str = ""
    """Text that names a recipe for a CPU, if this training is too much work for one; else ""."""
    changed: tuple[str, ...] = ()
    """Fields that differ from the reference, such as `optim.lr 0.02 (0.01)`. The old value is in brackets."""
    statistics: int = 0
    """Number of training videos from which BatchNorm statistics are computed after each epoch."""
    warnings: tuple[str, ...] = ()
    """Warnings about settings that are probably mistakes."""

    @property
    def validated(self) -> tuple[int, ...]:
        """The epochs after which the network is validated, counted from 1."""
        if not self.val:
            return ()
        epochs = range(1, self.epochs + 1)
        return tuple(epoch for epoch in epochs if epoch == self.epochs or epoch % self.every == 0)

    @property
    def lines(self) -> tuple[str, ...]:
        """The plan as lines of text, without the warnings."""
        many = self.world_size > 1
        each = f", {self.batch // self.world_size} on each of {self.world_size} devices" if many else ""
        steps = self.epochs * self.steps
        total = f"{_count(self.epochs, 'epoch')} × {_count(self.steps, 'step')} = {_count(steps, 'step')}"
        memory = f"about {_bytes(self.memory)}{' per device' if many else ''} (estimated)"
        lines = [
            f"{self.train} training, {self.val} validation videos, {self.classes} classes",
            f"{total} of {self.batch} clips{each}",
            self.schedule,
            self.start,
            *([self.trained] if self.trained else []),
            f"memory for training: {memory}",
        ]
        if self.cheaper:
            lines.append(self.cheaper)
        if self.statistics:
            videos = _count(self.statistics, "training video")
            lines.append(f"a short training: after each epoch, BatchNorm statistics come from {videos}")
        if self.changed:
            lines.append(f"changed from the recipe: {', '.join(self.changed)}")
        return tuple(lines)


def plan(
    recipe: Recipe,
    split: Split,
    *,
    reference: Recipe | None = None,
    world_size: int = 1,
    device: torch.device | str = "cpu",
) -> Plan:
    """Plan the training of a recipe on the videos of a split. This reads no video and allocates no weights.

    Args:
        recipe: the experiment.
        split: the training and validation videos.
        reference: the recipe before its fields were changed. None skips the comparison.
        world_size: number of processes that train together. `optim.batch` is split over these processes.
        device: device to train on. For a GPU, the memory estimate takes account of `optim.precision`, and
            the plan warns if the GPU has less memory than estimated.

    Raises:
        UserError: the recipe's network cannot be built, or has no stage that `optim.trained` names.
    """
    kind, classes = torch.device(device).type, len(split.classes)
    cheaper = recipe_for_cpu(recipe, reference, classes=classes) if kind == "cpu" else ""
    recipe = shorten_schedule(recipe, videos=len(split.train))
    reference = reference and shorten_schedule(reference, videos=len(split.train))
    optim = recipe.optim
    batch = min(optim.batch, max(1, len(split.train)))
    steps = steps_per_epoch(optim, videos=len(split.train))
    half = kind == "cuda" and optim.precision == "bfloat16"
    clips = -(-batch // (world_size * optim.accumulate))
    memory = training_memory(recipe, classes=classes, clips=clips, half=half)
    trained, norms = _trained(recipe, classes=classes)
    found = [*_of_data(recipe, split), *_of_optim(optim)]
    available = _memory_of(torch.device(device))
    if available is not None and memory > available:
        found.append(
            f"training may need {_bytes(memory)}, and the device has {_bytes(available)}: "
            "raise --optim.accumulate, or lower --optim.batch"
        )
    if reference is not None:
        found += _against(recipe, reference)
    found += _of_sizes(recipe, reference)
    return Plan(
        train=len(split.train),
        val=len(split.val),
        classes=classes,
        world_size=world_size,
        batch=batch,
        steps=steps,
        epochs=optim.epochs,
        schedule=_schedule(optim, steps),
        start=_start(recipe.model),
        trained=trained,
        memory=memory,
        every=recipe.eval.every,
        device=kind,
        cheaper=cheaper,
        changed=tuple(changed_fields(recipe, reference)) if reference is not None else (),
        statistics=len(videos_for_statistics(recipe, split)) if norms else 0,
        warnings=tuple(found),
    )


def _memory_of(device: torch.device) -> int | None:
    """Return the memory of a GPU in bytes. Return None for a CPU, because other programs share its memory."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None


def _schedule(optim: Optim, steps: int) -> str:
    """Return a line of text that describes the learning-rate schedule, in steps."""
    decays = optim.schedule in ("cosine", "full-cosine")
    rate = f"learning rate {lr_at(optim.warmup, optim) if decays else peak_lr(optim):g}"
    if optim.warmup:
        start = f" from {warmup_start_lr(optim):g}" if optim.warmup_lr else ""
        rate += f" after {round(optim.warmup * steps)} warm-up steps{start}"
    if decays:
        return f"{rate}, decaying to 0 along a half cosine"
    falls = [str(epoch * steps) for epoch in optim.milestones if epoch < optim.epochs]
    if not falls:
        return f"{rate}, constant to the end"
    return f"{rate}, × {optim.gamma:g} after {', '.join(falls)} steps"


def _start(model: NetworkSettings) -> str:
    if model.init:
        return f"starts from the checkpoint {model.init}"
    if model.weights:
        inflated = "" if isinstance(model, Network2D) else ", inflated to three dimensions"
        return f"starts from the image network {model.weights}{inflated}"
    return "starts from scratch"


def _trained(recipe: Recipe, *, classes: int) -> tuple[str, bool]:
    """Return a text about frozen layers, "" if there are none; and whether any BatchNorm is trained."""
    trained = recipe.optim.trained
    if trained == "all":
        return "", True
    network = frozen_on_meta(recipe, classes=classes)
    return describe_trained(network, trained=trained), bool(trained_norms(network))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"

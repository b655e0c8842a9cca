"""What a training will do, told before it starts: samples, steps, schedule, memory, and what looks wrong.

A recipe is compared with its reference, the one of the same name as it stands in recipes/. What was changed
is listed; what usually harms (a batch without its learning rate, milestones that never come) is a warning.
The plan stops nothing. Of memory it has an estimate (profiling/memory.py).
"""

from dataclasses import dataclass

import torch

from tanet.data.samples import Split
from tanet.profiling.memory import training_memory
from tanet.recipes.diff import changed_fields
from tanet.recipes.recipe import Network2D, Optim, Recipe
from tanet.training.plan_warnings import _against, _of_data, _of_optim, _of_sizes
from tanet.training.schedule import peak_lr, shorten_schedule


@dataclass(frozen=True)
class Plan:
    """A training in numbers."""

    train: int
    """Training videos."""
    val: int
    """Validation videos."""
    classes: int
    world_size: int
    """Processes that train together, each on a device of its own."""
    batch: int
    """Clips in a step, over all processes."""
    steps: int
    """Steps in an epoch."""
    epochs: int
    schedule: str
    """How the learning rate goes, in steps."""
    start: str
    """Where the weights come from."""
    memory: int
    """Bytes that training takes on each device: an estimate."""
    changed: tuple[str, ...] = ()
    """Fields that are not the reference's, as `optim.lr 0.02 (0.01)`."""
    warnings: tuple[str, ...] = ()
    """What probably is not meant so."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The plan for a reader, without its warnings."""
        many = self.world_size > 1
        each = f", {self.batch // self.world_size} on each of {self.world_size} devices" if many else ""
        steps = self.epochs * self.steps
        total = f"{_count(self.epochs, 'epoch')} × {_count(self.steps, 'step')} = {_count(steps, 'step')}"
        memory = f"about {_bytes(self.memory)}{' a device' if many else ''} (estimated)"
        lines = [
            f"{self.train} training, {self.val} validation videos, {self.classes} classes",
            f"{total} of {self.batch} clips{each}",
            self.schedule,
            self.start,
            f"memory for training: {memory}",
        ]
        if self.changed:
            lines.append(f"not as in the recipe: {', '.join(self.changed)}")
        return tuple(lines)


def plan(
    recipe: Recipe,
    split: Split,
    *,
    reference: Recipe | None = None,
    world_size: int = 1,
    device: torch.device | str = "cpu",
) -> Plan:
    """What training this recipe on these videos means. Nothing is read, and no weights are made.

    Args:
        recipe: the experiment.
        split: its videos.
        reference: the recipe as it was before fields were changed; None compares with nothing.
        world_size: processes that train together; `optim.batch` is split over them.
        device: where it will train; a GPU computes in `optim.precision`, and has so much memory.

    Raises:
        UserError: the recipe's network can not be built.
    """
    recipe = shorten_schedule(recipe, videos=len(split.train))
    reference = reference and shorten_schedule(reference, videos=len(split.train))
    optim = recipe.optim
    batch = min(optim.batch, max(1, len(split.train)))
    steps = max(1, len(split.train) // batch)
    half = torch.device(device).type == "cuda" and optim.precision == "bfloat16"
    clips = -(-batch // (world_size * optim.accumulate))
    memory = training_memory(recipe, classes=len(split.classes), clips=clips, half=half)
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
        classes=len(split.classes),
        world_size=world_size,
        batch=batch,
        steps=steps,
        epochs=optim.epochs,
        schedule=_schedule(optim, steps),
        start=_start(recipe.model),
        memory=memory,
        changed=tuple(changed_fields(recipe, reference)) if reference is not None else (),
        warnings=tuple(found),
    )


def _memory_of(device: torch.device) -> int | None:
    """Bytes that a GPU has; a CPU's memory is others' as well."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None


def _schedule(optim: Optim, steps: int) -> str:
    """The learning rate over the steps, in words."""
    rate = f"learning rate {peak_lr(optim):g}"
    rate += f", after rising for {round(optim.warmup * steps)} steps" if optim.warmup else ""
    if optim.schedule == "cosine":
        return f"{rate}, along half a cosine to 0"
    falls = [str(epoch * steps) for epoch in optim.milestones if epoch < optim.epochs]
    if not falls:
        return f"{rate}, to the end"
    return f"{rate}, × {optim.gamma:g} after {', '.join(falls)} steps"


def _start(model: Network2D) -> str:
    if model.init:
        return f"starts from the checkpoint {model.init}"
    if model.weights:
        return f"starts from the image network {model.weights}"
    return "starts from scratch"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"

"""What a training will do, told before it starts: samples, steps, schedule, memory, and what looks wrong.

A recipe is compared with its reference, the one of the same name as it stands in recipes/. What was changed
is listed; what usually harms (a batch without its learning rate, milestones that never come) is a warning.
The plan stops nothing. Of memory it has an estimate (memory.py).
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tanet.annotation import Split
from tanet.memory import training_memory
from tanet.optim import fit, lr_at, peak_lr
from tanet.recipe import Model, Optim, Recipe
from tanet.transforms import mirror_labels

LEARN_FROM_SCRATCH = ("resnet18_w16",)  # networks small enough for it
# Fields that say where things lie and how this machine works, not what is learned.
ASIDE = {
    "data": (
        "transform_on",
        "root",
        "train",
        "val",
        "class_names",
        "quarantine",
        "workers",
        "bad_files",
        "max_bad",
        "timeout",
    ),
    "model": ("weights", "init", "init_frames"),
    "optim": ("accumulate", "nonfinite"),
    "eval": ("batch", "every"),
}


@dataclass(frozen=True)
class Plan:
    """A training in numbers."""

    train: int
    """Training videos."""
    val: int
    """Validation videos."""
    classes: int
    world: int
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
        many = self.world > 1
        each = f", {self.batch // self.world} on each of {self.world} devices" if many else ""
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
    world: int = 1,
    device: torch.device | str = "cpu",
) -> Plan:
    """What training this recipe on these videos means. Nothing is read, and no weights are made.

    Args:
        recipe: the experiment.
        split: its videos.
        reference: the recipe as it was before fields were changed; None compares with nothing.
        world: processes that train together; `optim.batch` is split over them.
        device: where it will train; a GPU computes in `optim.precision`, and has so much memory.

    Raises:
        ValueError: the recipe's network can not be built.
    """
    recipe = fit(recipe, videos=len(split.train))
    reference = reference and fit(reference, videos=len(split.train))
    optim = recipe.optim
    batch = min(optim.batch, max(1, len(split.train)))
    steps = max(1, len(split.train) // batch)
    half = torch.device(device).type == "cuda" and optim.precision == "bfloat16"
    clips = -(-batch // (world * optim.accumulate))
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
        world=world,
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
    if optim.warmup >= optim.epochs:
        return f"learning rate {lr_at(optim.epochs, optim):g}, to which it rises until the end"
    rate += f", after rising for {round(optim.warmup * steps)} steps" if optim.warmup else ""
    if optim.schedule == "cosine":
        return f"{rate}, along half a cosine to 0"
    falls = [str(epoch * steps) for epoch in optim.milestones if epoch < optim.epochs]
    if not falls:
        return f"{rate}, to the end"
    return f"{rate}, × {optim.gamma:g} after {', '.join(falls)} steps"


def _start(model: Model) -> str:
    if model.init:
        return f"starts from the checkpoint {model.init}"
    if model.weights:
        return f"starts from the image network {model.weights}"
    return "starts from scratch"


def _of_data(recipe: Recipe, split: Split) -> list[str]:
    """What is odd about the recipe for these videos."""
    data, model = recipe.data, recipe.model
    found = []
    if not (model.weights or model.init or model.backbone in LEARN_FROM_SCRATCH):
        found.append(
            f"no weights to start from: {model.backbone} learns little from {len(split.train)} videos alone; "
            "name a checkpoint or ImageNet's weights (--init)"
        )
    if not split.val:
        found.append("no validation videos: the best checkpoint is the last one")
    if 0 < len(split.train) < recipe.optim.batch:
        found.append(
            f"the batch of {recipe.optim.batch} is larger than the {len(split.train)} training videos"
        )
    if data.flip == "plain" and (sided := _sided(split.classes)):
        found.append(
            f"mirrored videos keep their label (data.flip plain), but not in a mirror: {', '.join(sided)}; "
            "--data.flip mirror exchanges such labels"
        )
    return found


def _sided(classes: Sequence[str], most: int = 4) -> list[str]:
    """Classes whose name is another's, or no one's, when left and right are exchanged."""
    if all(name.isdigit() for name in classes):
        return []
    others = mirror_labels(tuple(classes))
    sided = [name for number, name in enumerate(classes) if others[number] != number]
    return [*sided[:most], "…"] if len(sided) > most else sided


def _of_optim(optim: Optim) -> list[str]:
    """What contradicts itself."""
    found = []
    late = [str(epoch) for epoch in optim.milestones if epoch >= optim.epochs]
    if optim.schedule == "step" and late:
        found.append(
            f"the learning rate never falls after epoch {', '.join(late)}: there are {optim.epochs} epochs "
            "(--optim.milestones)"
        )
    if optim.warmup >= optim.epochs:
        found.append(
            f"the learning rate never falls: it rises for {optim.warmup:g} epochs, and there are "
            f"{optim.epochs} (--optim.warmup)"
        )
    return found


def _against(recipe: Recipe, reference: Recipe) -> list[str]:
    """What was changed without what belongs to it."""
    ours, theirs = recipe.optim, reference.optim
    found = []
    if ours.method != theirs.method:
        chosen = [("learning rate", "lr"), ("weight decay", "weight_decay")]
        chosen += [("fresh_lr", "fresh_lr")] if theirs.fresh_lr != 1 else []
        kept = [
            f"{name} {getattr(ours, field):g}"
            for name, field in chosen
            if getattr(ours, field) == getattr(theirs, field)
        ]
        if kept:
            found.append(f"{ours.method} with the {' and the '.join(kept)} chosen for {theirs.method}")
    elif ours.method == "sgd":
        rate, scaled = peak_lr(ours), peak_lr(theirs) * ours.batch / theirs.batch
        if ours.batch != theirs.batch and abs(rate / scaled - 1) > 0.01:
            found.append(
                f"batch {ours.batch} instead of {theirs.batch}: in proportion the learning rate would be "
                f"{scaled:g}, not {rate:g} (--optim.lr-batch {theirs.batch} scales it)"
            )
    if ours.epochs < theirs.epochs:
        found.append(f"optim.epochs {ours.epochs} instead of {theirs.epochs}")
    if recipe.model.frames != reference.model.frames:
        found.append(
            f"{recipe.model.frames} frames a clip instead of {reference.model.frames}, for which the "
            f"recipe's views in a test were chosen (--eval.clips {recipe.eval.clips})"
        )
    return found


def _of_sizes(recipe: Recipe, reference: Recipe | None) -> list[str]:
    """A test that does not show things as large as training does."""
    data, eval = recipe.data, recipe.eval
    # A crop of the part s of the short side, made size × size, shows the video as one size / s high.
    least, most = data.size / max(data.scales), data.size / min(data.scales)
    if least - 1 < eval.resize < most + 1:
        return []
    line = (
        f"tested on videos with a short side of {eval.resize} pixels, while training shows them as with "
        f"{least:.0f} to {most:.0f}"
    )
    if reference is not None and reference.data.size != data.size:
        kept = round(reference.eval.resize * data.size / reference.data.size)
        return [f"{line} (--eval.resize {kept} would be in the recipe's proportion)"]
    return [f"{line} (--eval.resize, --data.scales)"]


def changed_fields(recipe: Recipe, reference: Recipe) -> list[str]:
    """`section.field now (was)` of what is not the reference's, but for place and machine."""
    changed = []
    for section in ("data", "model", "optim", "eval"):
        ours, theirs = getattr(recipe, section), getattr(reference, section)
        for name in (field.name for field in dataclasses.fields(ours)):
            was, now = getattr(theirs, name), getattr(ours, name)
            start = name == "identity" and recipe.model.init  # which a checkpoint's weights replace
            if was != now and name not in ASIDE.get(section, ()) and not start:
                changed.append(f"{section}.{name} {_shown(now)} ({_shown(was)})")
    return changed


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "/".join(map(_shown, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)

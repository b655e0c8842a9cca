"""Warn of settings that contradict each other, or that do not suit the videos."""

from collections.abc import Sequence

from tanet.data.samples import Split
from tanet.data.transforms import mirror_labels
from tanet.recipes.recipe import Optim, Recipe
from tanet.training.schedule import peak_lr

LEARN_FROM_SCRATCH = ("resnet18_w16",)  # networks small enough for it


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
    return found


def _against(recipe: Recipe, reference: Recipe) -> list[str]:
    """What was changed without what belongs to it."""
    ours, theirs = recipe.optim, reference.optim
    found = []
    if ours.method != theirs.method:
        chosen = [("learning rate", "lr"), ("weight decay", "weight_decay")]
        chosen += [("new_layer_lr_scale", "new_layer_lr_scale")] if theirs.new_layer_lr_scale != 1 else []
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

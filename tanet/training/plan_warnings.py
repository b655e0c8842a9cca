"""Warnings about recipe settings that contradict each other, or that do not suit the videos."""

from collections.abc import Sequence

from tanet.data.flow_video import ComputedFlow
from tanet.data.mirror_labels import mirror_labels
from tanet.data.samples import Sample, Split
from tanet.data.streams import open_sample
from tanet.recipes.network2d import Network2D
from tanet.recipes.network_settings import NetworkSettings
from tanet.recipes.networks3d import ResNet3D
from tanet.recipes.recipe import Data, Optim, Recipe
from tanet.training.schedule import peak_lr
from tanet.video import VideoError

LEARN_FROM_SCRATCH = ("resnet18_w16",)  # backbones small enough to train without pretrained weights
# Papers train SlowOnly, SlowFast and X3D from scratch on Kinetics, which has 240,000 videos.
MANY_VIDEOS = 100_000


def _of_data(recipe: Recipe, split: Split) -> list[str]:
    """Return warnings about settings of a recipe that do not suit the videos of a split."""
    data, model = recipe.data, recipe.model
    found = []
    starts = bool(model.weights or model.init)
    if not starts and recipe.optim.trained != "all":
        found.append(
            f"optim.trained {recipe.optim.trained} freezes layers with random weights; "
            "give the weights of a trained network with --init"
        )
    elif not (starts or _learns_from_scratch(model, videos=len(split.train))):
        inflates = isinstance(model, Network2D | ResNet3D)
        network = model.backbone if isinstance(model, Network2D) else "this network"
        found.append(
            f"no weights to start from: {network} learns little from {len(split.train)} videos alone; "
            f"give a checkpoint{' or ImageNet weights' if inflates else ''} with --init"
        )
    if model.is_flow and split.train and _computes_flow(split.train[0], data):
        found.append(
            "a network for optical flow, which is computed while videos are read; training is faster with "
            "the flow that tanet data flow writes (--data.flow)"
        )
    if not split.val:
        found.append("no validation videos: the best checkpoint is the last one")
    if 0 < len(split.train) < recipe.optim.batch:
        found.append(
            f"the batch of {recipe.optim.batch} is larger than the {len(split.train)} training videos"
        )
    if data.flip == "plain" and (sided := _sided(split.classes)):
        found.append(
            f"data.flip plain mirrors videos but keeps their labels, which is wrong for {', '.join(sided)}; "
            "--data.flip mirror swaps such labels"
        )
    return found


def _computes_flow(sample: Sample, data: Data) -> bool:
    """Return whether the flow of a video is computed, and not stored."""
    try:
        with open_sample(sample, data=data, flows=1) as video:
            return isinstance(video, ComputedFlow)
    except VideoError:
        return False


def _learns_from_scratch(model: NetworkSettings, *, videos: int) -> bool:
    """Tell whether a network learns well from this number of videos, without pretrained weights."""
    if isinstance(model, Network2D):
        return model.backbone in LEARN_FROM_SCRATCH
    return videos >= MANY_VIDEOS


def _sided(classes: Sequence[str], most: int = 4) -> list[str]:
    """Return the first `most` class names that contain left or right, and then "…" if there are more."""
    if all(name.isdigit() for name in classes):
        return []
    others = mirror_labels(tuple(classes))
    sided = [name for number, name in enumerate(classes) if others[number] != number]
    return [*sided[:most], "…"] if len(sided) > most else sided


def _of_optim(optim: Optim) -> list[str]:
    """Return warnings about optimizer settings that contradict each other."""
    found = []
    late = [str(epoch) for epoch in optim.milestones if epoch >= optim.epochs]
    if optim.schedule == "step" and late:
        found.append(
            f"learning-rate milestones never reached: epoch {', '.join(late)}; "
            f"the training has {optim.epochs} (--optim.milestones)"
        )
    return found


def _against(recipe: Recipe, reference: Recipe) -> list[str]:
    """Compare a recipe with its reference, and return warnings about changes that usually do harm.

    For example, warn if the batch size was changed but the learning rate was not.
    """
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
            found.append(f"{ours.method} uses the {' and the '.join(kept)} chosen for {theirs.method}")
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
            f"{recipe.model.frames} frames per clip instead of {reference.model.frames}, for which the "
            f"recipe's test views were chosen (--eval.clips {recipe.eval.clips})"
        )
    return found


def _of_sizes(recipe: Recipe, reference: Recipe | None) -> list[str]:
    """Return a warning if objects appear larger or smaller in testing than in training."""
    data, eval = recipe.data, recipe.eval
    # With short_sides, training shows videos with these short sides. Without:
    # The side of a training crop is `scale` times the video's short side. Crops are resized to size × size.
    # Objects in a resized crop are as large as in a video with a short side of size / scale pixels.
    least, most = data.short_sides or (data.size / max(data.scales), data.size / min(data.scales))
    if least - 1 < eval.resize < most + 1:
        return []
    line = (
        f"tested on videos with a short side of {eval.resize} pixels, but training shows them as if it were "
        f"{least:.0f} to {most:.0f}"
    )
    if reference is not None and reference.data.size != data.size:
        kept = round(reference.eval.resize * data.size / reference.data.size)
        return [f"{line} (--eval.resize {kept} would keep the recipe's proportion)"]
    return [f"{line} (--eval.resize, {'--data.short-sides' if data.short_sides else '--data.scales'})"]

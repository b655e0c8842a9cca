"""The learning-rate schedule: warm-up, peak and decay. A long schedule can be shortened.

    step          lr · gammaᵐ after m milestones
    cosine        lr · (1 + cos(π (e - W) / (E - W))) / 2
    full-cosine   lr · (1 + cos(π e / E)) / 2

e is the epoch, E the number of epochs, and W the length of the warm-up. During the warm-up, the learning rate
rises linearly from `warmup_lr` to `lr`; in full-cosine, PySlowFast's schedule, to the cosine's value at W.
"""

import math
from bisect import bisect_right
from dataclasses import replace

import torch

from tanet.errors import UserError
from tanet.recipes.recipe import Optim, Recipe


def steps_per_epoch(optim: Optim, *, videos: int) -> int:
    """Return the number of steps per epoch. An incomplete last batch is dropped unless it is the only one."""
    return max(1, videos // optim.batch)


def shorten_schedule(recipe: Recipe, *, videos: int) -> Recipe:
    """Shorten a recipe's schedule to at most `optim.max_steps` steps, but keep at least one epoch.

    The number of epochs, the milestones, the warm-up and the validation interval shrink by the same factor.

    Args:
        recipe: the experiment.
        videos: number of training videos.
    """
    optim = recipe.optim
    steps = steps_per_epoch(optim, videos=videos)
    if not optim.max_steps or optim.epochs * steps <= optim.max_steps:
        return recipe
    epochs = max(1, optim.max_steps // steps)
    part = epochs / optim.epochs
    milestones = tuple(round(part * milestone) for milestone in optim.milestones)
    optim = replace(optim, epochs=epochs, warmup=part * optim.warmup, milestones=milestones)
    every = max(1, round(part * recipe.eval.every))
    return replace(recipe, optim=optim, eval=replace(recipe.eval, every=every))


def peak_lr(optim: Optim) -> float:
    """Return the peak learning rate. The schedule full-cosine does not reach it if there is a warm-up.

    If `optim.lr_batch` is set, `optim.lr` is scaled in proportion to the batch size (Goyal et al. 2017).
    """
    return _for_batch(optim.lr, optim)


def warmup_start_lr(optim: Optim) -> float:
    """Return the learning rate at the start of the warm-up, scaled like the peak learning rate."""
    return _for_batch(optim.warmup_lr, optim)


def lr_at(epoch: float, optim: Optim) -> float:
    """Return the learning rate at a point in training. Epoch 1.5 is the middle of the second epoch."""
    height = peak_lr(optim)
    if epoch < optim.warmup:
        start = warmup_start_lr(optim)
        end = lr_at(optim.warmup, optim) if optim.schedule == "full-cosine" else height
        return start + (end - start) * epoch / optim.warmup
    if optim.schedule == "step":
        return height * optim.gamma ** bisect_right(optim.milestones, epoch)
    if optim.schedule == "cosine":
        part = (epoch - optim.warmup) / (optim.epochs - optim.warmup)
        return height * (1 + math.cos(math.pi * part)) / 2
    if optim.schedule == "full-cosine":
        return height * (1 + math.cos(math.pi * epoch / optim.epochs)) / 2
    choices = "step, cosine, full-cosine"
    raise UserError(f"unknown learning-rate schedule '{optim.schedule}': choose from {choices}")


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every parameter group to `lr` times the group's `lr_scale`.

    A learning rate that is a tensor is changed in place, because a captured CUDA graph reads this tensor.
    """
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(lr * group["lr_scale"])
        else:
            group["lr"] = lr * group["lr_scale"]


def _for_batch(lr: float, optim: Optim) -> float:
    return lr * optim.batch / optim.lr_batch if optim.lr_batch else lr

"""The learning rate over a training: its peak, its decay, and how a long schedule is shortened."""

import math
from bisect import bisect_right
from dataclasses import replace

import torch

from tanet.errors import UserError
from tanet.recipes.recipe import Optim, Recipe


def shorten_schedule(recipe: Recipe, *, videos: int) -> Recipe:
    """The schedule in at most `max_steps` steps: fewer epochs, all that is counted in them sooner alike."""
    optim = recipe.optim
    steps = max(1, videos // optim.batch)
    if not optim.max_steps or optim.epochs * steps <= optim.max_steps:
        return recipe
    epochs = max(1, optim.max_steps // steps)
    part = epochs / optim.epochs
    milestones = tuple(round(part * milestone) for milestone in optim.milestones)
    optim = replace(optim, epochs=epochs, warmup=part * optim.warmup, milestones=milestones)
    every = max(1, round(part * recipe.eval.every))
    return replace(recipe, optim=optim, eval=replace(recipe.eval, every=every))


def peak_lr(optim: Optim) -> float:
    """The learning rate at its height: as it is given, or in proportion to the batch (Goyal et al. 2017)."""
    return optim.lr * optim.batch / optim.lr_batch if optim.lr_batch else optim.lr


def lr_at(epoch: float, optim: Optim) -> float:
    """Learning rate at a moment, in epochs from the start (1.5 is in the middle of the second)."""
    height = peak_lr(optim)
    if epoch < optim.warmup:
        return height * epoch / optim.warmup
    if optim.schedule == "step":
        return height * optim.gamma ** bisect_right(optim.milestones, epoch)
    if optim.schedule == "cosine":
        part = (epoch - optim.warmup) / (optim.epochs - optim.warmup)
        return height * (1 + math.cos(math.pi * part)) / 2
    raise UserError(f"unknown schedule '{optim.schedule}': known are step, cosine")


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group its multiple of the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]

"""Variants of the recipe `finetune` for bench/finetune.py: what is changed, by name."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from tanet.recipe import Recipe
from tanet.recipes import RECIPES


@dataclass(frozen=True)
class Extra:
    """What the library does not do."""

    mixup: float = 0.0
    """α of the Beta distribution by which two clips are mixed, frame by frame."""
    cutmix: float = 0.0
    """α of the Beta distribution of the area that comes from another clip, the same in all frames."""
    ema: float = 0.0
    """Decay of the running mean of the weights, in the second half, which is tested; a pass a step."""
    layers: float = 1.0
    """Multiple of the learning rate from a block to the one before it."""
    frozen: bool = False
    """BatchNorms of the 2D network but the first keep what they had (TSN's partial BN)."""
    drop_path: float = 0.0
    """Probability that the last residual block is left out for a clip's frame, falling to 0 at the first."""
    span: float = 1.0
    """Least part of the video that a clip spreads over, at a random place."""
    colour: float = 0.0
    """Brightness, contrast and saturation of a clip vary by up to this part."""


Changes = dict[str, object]
PUBLISHED: Changes = {
    "model.identity": 0.0,
    "optim.method": "sgd",
    "optim.lr": 0.01,
    "optim.weight_decay": 5e-4,
    "optim.warmup": 0.0,
    "optim.clip_norm": 20.0,
    "optim.linear_lr": "all",
    "optim.fresh_lr": 1.0,
    "optim.smoothing": 0.0,
}
"""As the published code trains on Kinetics, but in this recipe's batches and along its schedule."""
CHANGES: dict[str, Changes] = {
    "base": {},
    "published": PUBLISHED,
    "112": {"data.resize": 128, "data.size": 112, "eval.resize": 128, "eval.size": 112},
    "160": {"data.resize": 182, "data.size": 160, "eval.resize": 182, "eval.size": 160},
    "epochs30": {"optim.epochs": 30},
    "epochs70": {"optim.epochs": 70},
    "epochs150": {"optim.epochs": 150},
    "lr1e-4": {"optim.lr": 1e-4},
    "lr5e-4": {"optim.lr": 5e-4},
    "lr1e-3": {"optim.lr": 1e-3},
    "fresh1": {"optim.fresh_lr": 1.0},
    "fresh3": {"optim.fresh_lr": 3.0},
    "fresh30": {"optim.fresh_lr": 30.0},
    "near0": {"model.identity": 0.0},
    "near6": {"model.identity": 6.4},
    "near12": {"model.identity": 12.0},
    "near40": {"model.identity": 40.0},
    "batch8": {"optim.batch": 8, "optim.lr": 1e-4},
    "batch32": {"optim.batch": 32, "optim.lr": 4e-4},
    "decay2": {"optim.weight_decay": 0.2},
    "dropout2": {"model.dropout": 0.2},
    "dropout0": {"model.dropout": 0.0},
    "hard": {"optim.smoothing": 0.0},
    "a": {"model.position": "a"},
    "frames16": {"model.frames": 16},
    "gentle": {"data.scales": (1.0, 0.875)},
    "mixup": {"extra.mixup": 0.2},
    "cutmix": {"extra.cutmix": 1.0},
    "ema": {"extra.ema": 0.998},
    "layers": {"extra.layers": 0.9},
    "frozen": {"extra.frozen": True},
    "droppath": {"extra.drop_path": 0.1},
    "span": {"extra.span": 0.7},
    "colour": {"extra.colour": 0.4},
}
FIRST = (
    *(
        "base",
        "published",
        "near0",
        "near1",
        "near10",
        "lr1e-4",
        "lr5e-4",
        "lr5e-4+fresh3",
        "fresh1",
        "fresh30",
    ),
    *("epochs70", "epochs150", "hard", "dropout2", "decay2", "span", "colour", "frames16", "112"),
)
"""What to begin with."""


@dataclass(frozen=True)
class Trial:
    """One training."""

    variant: str
    recipe: Recipe
    extra: Extra


def trial_of(variant: str, *, seed: int, before: Changes, after: Changes) -> Trial:
    """The recipe `finetune` with a variant's changes, and others before and after them."""
    changes = dict(before)
    for part in variant.split("+"):
        if part not in CHANGES:
            raise SystemExit(f"unknown variant '{part}': known are {', '.join(CHANGES)}")
        changes |= CHANGES[part]
    changes |= after
    sections: dict[str, Any] = {**vars(RECIPES["finetune"]), "extra": Extra()}
    for key, value in changes.items():
        section, field = key.split(".")
        sections[section] = dataclasses.replace(sections[section], **{field: value})
    extra = sections.pop("extra")
    return Trial(variant, Recipe(**{**sections, "seed": seed}), extra)


def drop(part: float) -> Callable[[nn.Module, Any, torch.Tensor], torch.Tensor]:
    """A hook that leaves out what a residual block adds, for a part of the frames."""

    def hook(module: nn.Module, _: object, output: torch.Tensor) -> torch.Tensor:
        if not module.training:
            return output
        kept = torch.rand(len(output), 1, 1, 1, device=output.device) >= part
        return output * (kept / (1 - part)).to(output.dtype)

    return hook


def mix(
    clips: torch.Tensor, targets: torch.Tensor, extra: Extra, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each clip with another of the batch: clips [B, T, 3, S, S], targets [B, classes]."""
    if extra.mixup:
        part = float(rng.beta(extra.mixup, extra.mixup))
        return clips.lerp(clips.flip(0), 1 - part), targets.lerp(targets.flip(0), 1 - part)
    if extra.cutmix and rng.random() < 0.5:
        size = clips.shape[-1]
        side = round(size * float(rng.beta(extra.cutmix, extra.cutmix)) ** 0.5)
        top, left = (int(rng.integers(size - side + 1)) for _ in "yx")
        box = (..., slice(top, top + side), slice(left, left + side))
        mixed = clips.clone()
        mixed[box] = clips.flip(0)[box]
        return mixed, targets.lerp(targets.flip(0), (side / size) ** 2)
    return clips, targets

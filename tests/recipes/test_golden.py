"""Every value of the published recipes, written out from the paper and the published scripts."""

import dataclasses
import importlib
import re

import numpy as np
import pytest

from tanet.data import frame_sampling
from tanet.models.factory import build
from tanet.recipes import RECIPES
from tanet.recipes.recipe import Recipe
from tanet.training.optimizer import param_groups
from tanet.training.schedule import lr_at

# What the published trainings have in common.
COMMON = {
    "data.size": 224,
    "data.scales": (1, 0.875, 0.75, 0.66),
    "data.resize": 256,  # the paper; the published code: 0
    "model.backbone": "resnet50",
    "model.temporal": "tam",
    "model.position": "auto",  # TAM's own, b
    "model.stages": ("res2", "res3", "res4", "res5"),
    "model.alpha": 2,
    "model.beta": 4,
    "model.kernel": 3,
    "model.local_kernel": 3,
    "model.center_tap_bias": 0,
    "optim.method": "sgd",
    "optim.new_layer_lr_scale": 1,
    "optim.smoothing": 0,
    "optim.momentum": 0.9,
    "optim.schedule": "step",
    "optim.gamma": 0.1,
    "optim.warmup": 0,
    "optim.max_steps": 0,
    "optim.lr_batch": 0,
    "optim.clip_norm": 20,
    "optim.linear_lr_boost": "all",  # the published code; mmaction2: the classifier
    "eval.average": "logits",  # the published code; mmaction2: softmax
    "eval.resize": 256,
}
KINETICS = {
    "data.sampling": "dense",
    "data.window": 64,
    "data.flip": "plain",
    "model.dropout": 0.5,
    "optim.epochs": 100,
    "optim.lr": 0.01,
    "optim.milestones": (50, 75, 90),
    "optim.weight_decay": 1e-4,
    "optim.batch": 64,
    "eval.crops": 3,
    "eval.size": 256,
}
V1 = {
    "data.sampling": "uniform",
    "data.flip": "none",  # the published code
    "model.dropout": 0.6,
    "optim.epochs": 50,
    "optim.lr": 0.01,
    "optim.milestones": (30, 40, 45),
    "optim.weight_decay": 1e-3,
    "optim.batch": 64,
    "eval.clips": 1,
    "eval.crops": 1,
    "eval.size": 224,
}
V2 = {  # the published script's
    "data.sampling": "uniform",
    "data.flip": "mirror",
    "model.dropout": 0.5,
    "optim.epochs": 50,
    "optim.lr": 0.02,
    "optim.milestones": (30, 40, 45),
    "optim.weight_decay": 5e-4,
    "optim.batch": 128,
    "eval.clips": 2,
    "eval.crops": 3,
    "eval.size": 256,
}
GOLDEN = {
    "kinetics400": COMMON | KINETICS | {"model.frames": 8, "eval.clips": 10},
    "kinetics400-16f": COMMON | KINETICS | {"model.frames": 16, "eval.clips": 4},
    "something-v1": COMMON | V1 | {"model.frames": 8},
    "something-v1-16f": COMMON | V1 | {"model.frames": 16},
    "something-v2": COMMON | V2 | {"model.frames": 8},
    "something-v2-16f": COMMON | V2 | {"model.frames": 16},
}
# The other source's values, where paper and published codes differ, as flags.
OTHERS = {
    "kinetics400": {
        "data.resize": "0",
        "optim.linear_lr_boost": "classifier",
        "eval.average": "softmax",
    },
    "something_v1": {
        "data.resize": "0",
        "optim.linear_lr_boost": "classifier",
        "data.flip": "mirror",
    },
    "something_v2": {
        "data.resize": "0",
        "optim.linear_lr_boost": "classifier",
        "optim.lr": "0.01",
        "optim.batch": "64",
        "optim.weight_decay": "1e-3",
    },
}


def fields(recipe):
    return {
        f"{section.name}.{field.name}": getattr(getattr(recipe, section.name), field.name)
        for section in dataclasses.fields(recipe)
        if dataclasses.is_dataclass(getattr(recipe, section.name))
        for field in dataclasses.fields(getattr(recipe, section.name))
    }


@pytest.mark.parametrize("name", GOLDEN)
def test_values_are_the_published(name):
    values = fields(RECIPES[name])
    assert {key: values[key] for key in GOLDEN[name]} == GOLDEN[name]


@pytest.mark.parametrize("name", GOLDEN)
def test_all_else_is_the_default(name):
    """What the golden values do not name must not creep into a published recipe."""
    values, default = fields(RECIPES[name]), fields(Recipe())
    assert {key: values[key] for key in default.keys() - GOLDEN[name].keys()} == {
        key: default[key] for key in default.keys() - GOLDEN[name].keys()
    }


@pytest.mark.parametrize("module", OTHERS)
def test_a_recipe_says_how_to_get_the_other_sources_values(module):
    told = importlib.import_module(f"tanet.recipes.{module}").__doc__
    flags = re.findall(r"--((?:data|model|optim|eval)\.[a-z-]+) ([\w.-]+)", told)
    found = {flag.replace("-", "_"): value for flag, value in flags}
    del found["data.train" if module.startswith("something") else "data.root"]  # how to run it
    assert found == OTHERS[module]
    assert found.keys() <= fields(Recipe()).keys()


@pytest.mark.parametrize(
    ("name", "falls"),
    [("kinetics400", (50, 75, 90)), ("something-v1", (30, 40, 45)), ("something-v2", (30, 40, 45))],
)
def test_the_learning_rate_falls_tenfold_at_the_published_epochs(name, falls):
    optim = RECIPES[name].optim
    rates = [lr_at(epoch + 0.5, optim) for epoch in range(optim.epochs)]
    expected = [optim.lr * 0.1 ** sum(epoch >= fall for fall in falls) for epoch in range(optim.epochs)]
    assert rates == pytest.approx(expected)


def test_groups_of_parameters_are_the_published_codes():
    recipe = RECIPES["something-v1"]
    network = build(dataclasses.replace(recipe.model, backbone="resnet18"), classes=174)
    found = {g["name"]: (g["lr_scale"], g["weight_decay"]) for g in param_groups(network, recipe.optim)}
    assert found == {"weight": (1, 1e-3), "norm": (1, 0), "linear weight": (5, 1e-3), "linear bias": (10, 0)}


def test_frames_come_from_64_consecutive_ones():
    for name, stride in (("kinetics400", 8), ("kinetics400-16f", 4)):
        recipe = RECIPES[name]
        indices = frame_sampling.train_indices(
            300,
            frames=recipe.model.frames,
            sampling=recipe.data.sampling,
            window=recipe.data.window,
            generator=np.random.default_rng(0),
        )
        assert set(np.diff(indices)) == {stride}

"""The published recipes have the values of the paper and of the published scripts, listed here in full."""

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

# Values that all published trainings share.
COMMON = {
    "data.size": 224,
    "data.scales": (1, 0.875, 0.75, 0.66),
    "data.resize": 256,  # the paper; the published code: 0
    "data.segments": "published",
    "data.snap": 2,
    "eval.style": "tanet",
    "model.backbone": "resnet50",
    "model.temporal": "tam",
    "model.position": "auto",  # the default of TAM, position b
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
V2 = {  # from the published script
    "data.sampling": "uniform",
    "data.flip": "published",
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
# Where the paper and the published codes differ: the values of the source that the recipe does not follow.
VALUES_OF_OTHER_SOURCE = {
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


def recipe_values(recipe):
    return {
        f"{section.name}.{field.name}": getattr(getattr(recipe, section.name), field.name)
        for section in dataclasses.fields(recipe)
        if dataclasses.is_dataclass(getattr(recipe, section.name))
        for field in dataclasses.fields(getattr(recipe, section.name))
    }


@pytest.mark.parametrize("name", GOLDEN)
def test_recipe_has_published_values(name):
    values = recipe_values(RECIPES[name])
    assert {key: values[key] for key in GOLDEN[name]} == GOLDEN[name]


@pytest.mark.parametrize("name", GOLDEN)
def test_other_fields_have_default_values(name):
    """A published recipe must not set fields that the golden values do not list."""
    values, default = recipe_values(RECIPES[name]), recipe_values(Recipe())
    assert {key: values[key] for key in default.keys() - GOLDEN[name].keys()} == {
        key: default[key] for key in default.keys() - GOLDEN[name].keys()
    }


@pytest.mark.parametrize("module", VALUES_OF_OTHER_SOURCE)
def test_recipe_docstring_lists_flags_for_other_source(module):
    told = importlib.import_module(f"tanet.recipes.{module}").__doc__
    flags = re.findall(r"--((?:data|model|optim|eval)\.[a-z-]+) ([\w.-]+)", told)
    found = {flag.replace("-", "_"): value for flag, value in flags}
    # Part of the command that runs the recipe.
    del found["data.train" if module.startswith("something") else "data.root"]
    assert found == VALUES_OF_OTHER_SOURCE[module]
    assert found.keys() <= recipe_values(Recipe()).keys()


@pytest.mark.parametrize(
    ("name", "falls"),
    [("kinetics400", (50, 75, 90)), ("something-v1", (30, 40, 45)), ("something-v2", (30, 40, 45))],
)
def test_learning_rate_falls_tenfold_at_published_epochs(name, falls):
    optim = RECIPES[name].optim
    rates = [lr_at(epoch + 0.5, optim) for epoch in range(optim.epochs)]
    expected = [optim.lr * 0.1 ** sum(epoch >= fall for fall in falls) for epoch in range(optim.epochs)]
    assert rates == pytest.approx(expected)


def test_parameter_groups_match_published_code():
    recipe = RECIPES["something-v1"]
    network = build(dataclasses.replace(recipe.model, backbone="resnet18"), classes=174)
    found = {g["name"]: (g["lr_scale"], g["weight_decay"]) for g in param_groups(network, recipe.optim)}
    assert found == {"weight": (1, 1e-3), "norm": (1, 0), "linear weight": (5, 1e-3), "linear bias": (10, 0)}


def test_frames_are_sampled_from_64_consecutive_frames():
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

"""Recipes have the published values, convert to JSON and back, and reject invalid values."""

import json

import pytest

from tanet.recipes import RECIPES
from tanet.recipes import recipe as recipes
from tanet.recipes.recipe import Data, Eval, Network2D, Optim, Recipe


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_unchanged_after_json(name):
    assert recipes.from_dict(json.loads(json.dumps(recipes.to_dict(RECIPES[name])))) == RECIPES[name]


def test_unknown_field_is_rejected_with_known_fields():
    with pytest.raises(ValueError, match=r"recipe.optim: unknown field lrr; choose from method, epochs, lr"):
        recipes.from_dict({"optim": {"lrr": 1}})


def test_milestones_out_of_order_are_rejected():
    with pytest.raises(ValueError, match=r"^optim\.milestones must ascend, not 75, 50, 90$"):
        Recipe(optim=Optim(milestones=(75, 50, 90)))
    # Rounding by max_steps can make milestones equal.
    assert Recipe(optim=Optim(milestones=(2, 2))).optim.milestones == (2, 2)


def test_missing_fields_get_default_values():
    assert recipes.from_dict({"optim": {"lr": 1.0}}).model == recipes.Recipe().model


def test_kinetics_recipe_has_values_of_paper():
    recipe = RECIPES["kinetics400"]
    optim, data, eval = recipe.optim, recipe.data, recipe.eval
    assert (optim.epochs, optim.lr, optim.milestones, optim.gamma) == (100, 0.01, (50, 75, 90), 0.1)
    assert (optim.weight_decay, optim.batch, optim.momentum, optim.clip_norm) == (1e-4, 64, 0.9, 20)
    assert (data.sampling, data.window, data.resize, data.size, data.flip) == ("dense", 64, 256, 224, "plain")
    assert data.scales == (1.0, 0.875, 0.75, 0.66)
    assert (eval.clips, eval.crops, eval.resize, eval.size) == (10, 3, 256, 256)
    assert (recipe.model.dropout, recipe.model.frames, recipe.model.position) == (0.5, 8, "auto")


def test_something_something_recipes_have_published_values():
    one, two = RECIPES["something-v1"], RECIPES["something-v2"]
    for recipe in (one, two):
        assert (recipe.optim.epochs, recipe.optim.milestones) == (50, (30, 40, 45))
        assert recipe.data.sampling == "uniform"
    assert (one.optim.lr, one.optim.batch, one.optim.weight_decay, one.model.dropout) == (0.01, 64, 1e-3, 0.6)
    assert (two.optim.lr, two.optim.batch, two.optim.weight_decay, two.model.dropout) == (
        0.02,
        128,
        5e-4,
        0.5,
    )
    assert (one.data.flip, two.data.flip) == ("none", "published")
    assert (one.eval.clips, one.eval.crops, one.eval.resize, one.eval.size) == (1, 1, 256, 224)
    assert (two.eval.clips, two.eval.crops, two.eval.resize, two.eval.size) == (2, 3, 256, 256)


def test_invalid_field_values_are_rejected():
    for section, fields, message in (
        (Data, {"sampling": "Dense"}, "unknown data.sampling 'Dense': choose from dense, uniform"),
        (Network2D, {"stages": ("res6",)}, "unknown model.stages 'res6'"),
        (Optim, {"precision": "bf16"}, "choose from float32, bfloat16"),
        (Eval, {"clips": 0}, "eval.clips must be at least 1, not 0"),
        (Eval, {"crops": 2}, "unknown eval.crops '2': choose from 1, 3"),
    ):
        with pytest.raises(ValueError, match=message):
            section(**fields)
    with pytest.raises(ValueError, match=r"eval.size 224 must not exceed eval.resize 200"):
        recipes.Recipe(eval=Eval(resize=200))


def test_removed_fields_without_effect_are_ignored():
    """Versions between releases wrote them into every checkpoint."""
    values = recipes.to_dict(Recipe())
    values["model"] |= {"kernel_prior": "none", "prior_strength": 3.0}
    values["optim"] |= {"kernel_prior_lr_scale": 1.0, "kernel_prior_decay": True}
    assert recipes.from_dict(values) == Recipe()
    values["model"]["kernel_prior"] = "shift"
    with pytest.raises(ValueError, match="unknown field kernel_prior"):
        recipes.from_dict(values)

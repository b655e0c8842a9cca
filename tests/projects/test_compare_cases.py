"""The benchmark of modules trains each different row of the paper's tables once, all with one recipe."""

import hashlib
import json
from dataclasses import asdict, replace

import pytest

from projects.compare.cases import (
    BENCHMARKS,
    START,
    Case,
    buildable,
    cases,
    change,
    made_otherwise,
    paper_top1,
    recipe_id,
)
from projects.compare.jobs import from_checkpoint
from tanet.checkpoints import checkpoint
from tanet.data.samples import Sample, Split
from tanet.errors import UserError
from tanet.models.factory import build
from tanet.recipes import RECIPES, TABLES
from tanet.recipes.recipe import Recipe
from tanet.synthetic import HARD
from tanet.training.plan import plan

VARIANTS = [
    table for table in TABLES if table not in ("4", "6", "7")
]  # these have networks of other families


def test_cases_cover_all_table_rows_without_duplicates():
    for recipe in BENCHMARKS.values():
        found = cases(VARIANTS, recipe)
        rows = [row for case in found for row in case.rows]
        assert sorted(rows) == sorted((table, row) for table in VARIANTS for row in TABLES[table])
        models = [case.model for case in found]
        assert all(one not in models[:number] for number, one in enumerate(models))
        tam = next(case for case in found if case.name == "tam")
        assert {("2", "tam"), ("1a", "alpha2-beta4"), ("5a", "b"), ("5b", "res2-5")} <= set(tam.rows)
        assert tam.model == replace(recipe.model, temporal="tam")


def test_case_changes_fields_of_its_row():
    recipe = BENCHMARKS["arrow6"]
    by_name = {case.name: case.model for case in cases(["1b", "3", "5b"], recipe)}
    assert by_name["tam frames=16 kernel=5"] == replace(recipe.model, frames=16, kernel=5)
    assert by_name["tam stages=res4+res5"] == replace(recipe.model, stages=("res4", "res5"))
    assert by_name["none backbone=resnet50"] == replace(recipe.model, backbone="resnet50", temporal="none")
    # MobileNetV2 is the default backbone of arrow6.
    assert by_name["none"] == replace(recipe.model, temporal="none")


def test_cases_without_row_in_paper_form_own_table():
    recipe = BENCHMARKS["arrow6"]
    found = cases(["2", START], recipe)
    assert [case.name for case in found[-3:]] == [
        "tam center_tap_bias=2.0",
        "tam center_tap_bias=6.0",
        "tam center_tap_bias=19.0",
    ]
    assert found[-1].model == replace(recipe.model, center_tap_bias=RECIPES["finetune"].model.center_tap_bias)
    assert (START, "0") in next(case for case in found if case.name == "tam").rows
    assert paper_top1(START, "6") is None
    assert paper_top1("2", "tam") == 76.1


def test_change_sets_fields_of_recipe():
    recipe = change(BENCHMARKS["synthetic"], ["optim.epochs=3", "data.scales=(1.0,)", "data.flip=none"])
    assert recipe.optim == replace(BENCHMARKS["synthetic"].optim, epochs=3)
    assert (recipe.data.scales, recipe.data.flip) == ((1.0,), "none")


def test_plan_of_every_benchmark_has_no_warnings():
    videos = Split((Sample("a.mp4", 0),) * 300, (Sample("b.mp4", 1),) * 100, ("appear", "vanish"))
    for recipe in BENCHMARKS.values():
        ready = replace(recipe, model=replace(recipe.model, weights="w.pth"))
        assert not plan(ready, videos, reference=ready).warnings


def test_recipe_id_differs_for_other_recipes():
    recipe = BENCHMARKS["synthetic"]
    assert recipe_id(recipe) == recipe_id(replace(recipe, seed=3)) != recipe_id(BENCHMARKS["arrow6"])
    for text in ("optim.epochs=3", "eval.resize=96", "model.dropout=0.5", "data.flip=none"):
        assert recipe_id(change(recipe, [text])) != recipe_id(recipe)
    # Fields with default values do not change the id, so new fields keep old rows valid.
    then = change(Recipe(), ["data.segments=published"])
    assert recipe_id(then) == hashlib.sha256(b"[]").hexdigest()[:8]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("optim.epoch=3", "'optim.epoch=3' changes no field"),
        ("seed=3", "changes no field"),
        ("optim.epochs=many", "many is no value for optim.epochs, which is now 20"),
        ("optim.epochs=2.5", "2.5 is no value for optim.epochs, which is now 20"),
        ("model.title=x", "changes no field"),
        ("optim.epochs=1e400", "1e400 is no value for optim.epochs"),
        ("optim.lr=True", "True is no value for optim.lr"),
        ("__class__.seed=3", "changes no field"),
        ("data.flip=up", "unknown data.flip 'up'"),
    ],
)
def test_invalid_changes_are_rejected(text, line):
    with pytest.raises(ValueError, match=line):
        change(BENCHMARKS["synthetic"], [text])


def test_settings_of_synthetic_set_are_read_from_its_folder(tmp_path):
    assert made_otherwise(tmp_path) == ""
    about = {"out": "x", "videos": 20, "seed": 0, "height": 96, "width": 128, "dials": asdict(HARD)}
    (tmp_path / "synthetic.json").write_text(json.dumps(about))
    assert made_otherwise(tmp_path) == ""
    about |= {"seed": 1, "dials": about["dials"] | {"camera": 0.0}}
    (tmp_path / "synthetic.json").write_text(json.dumps(about))
    assert made_otherwise(tmp_path) == "seed=1 camera=0"


def test_impossible_networks_are_left_out_with_message(capsys):
    found = buildable(cases(["5a"], BENCHMARKS["synthetic"]))
    assert [case.name for case in found] == ["tam position=a", "tam", "tam position=d"]
    assert "left out: tam position=c: position c is before conv3" in capsys.readouterr().out


def test_other_systems_are_cases_of_the_synthetic_benchmark():
    found = {case.name: case for case in cases(["systems"], BENCHMARKS["synthetic"])}
    assert {"trn-multiscale", "r2plus1d", "slowfast", "slowfast tam", "eco-lite", "x3d"} <= found.keys()
    assert found["slowfast tam"].model == replace(found["slowfast"].model, temporal="tam")
    assert buildable(list(found.values())) == list(found.values())
    assert {f"{module} static_kernel=shift" for module in ("tam", "global", "local")} <= {
        case.name for case in cases(["static"], BENCHMARKS["synthetic"])
    }


def test_a_checkpoint_starts_cases_that_differ_only_in_their_start(tmp_path):
    recipe = BENCHMARKS["synthetic"]
    case = Case("tam", recipe.model, ())
    checkpoint.save(
        tmp_path / "tam.safetensors",
        checkpoint.Checkpoint(build(recipe.model, classes=2), recipe, ("a", "b")),
    )
    same, other = (
        replace(case, model=replace(recipe.model, **own)) for own in ({"center_tap_bias": 5.0}, {"kernel": 5})
    )
    assert from_checkpoint(same, tmp_path).model.init == str(tmp_path / "tam.safetensors")
    with pytest.raises(UserError, match="is of another network; it differs in kernel"):
        from_checkpoint(other, tmp_path)

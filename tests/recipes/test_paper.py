"""The tables of the paper as recipes: the printed figures, and the fields that each row changes."""

import dataclasses

import pytest

from tanet.models.temporal import TAM, TEMPORAL
from tanet.profiling.flops import build_on_meta
from tanet.recipes import RECIPES, TABLES, find_recipe, find_table
from tanet.recipes.kinetics400 import KINETICS400

# Rows as printed in the paper: name, top-1, top-5. Before top-1, Table 2 has GFLOPs and parameters in
# millions, and Table 4 has GFLOPs and views.
PRINTED = {
    "1a": """
        alpha1-beta4 75.63 92.10
        alpha2-beta4 76.09 92.30
        alpha4-beta4 75.72 92.14
        alpha2-beta2 75.91 92.38
        alpha2-beta8 75.63 92.20
    """,
    "1b": """
        kernel3-frames8 76.09 92.30
        kernel5-frames8 75.62 92.14
        kernel3-frames16 76.87 92.88
        kernel5-frames16 77.19 93.17
    """,
    "2": """
        none 42.95 24.33 70.2 88.9
        pool 42.95 24.33 73.1 90.6
        tconv 53.02 28.10 73.3 90.7
        tsm 42.95 24.33 74.1 91.2
        tei 43.01 25.11 74.9 91.8
        i3d 62.55 32.99 74.3 91.6
        nonlocal 64.49 31.69 74.4 91.5
        global 43.00 24.33 74.9 91.7
        local 43.00 25.59 73.3 90.7
        global+se 43.02 24.65 75.4 92.0
        tanet-r 43.02 25.59 76.0 92.2
        tam 43.02 25.59 76.1 92.3
    """,
    "3": """
        shufflenet_v2_x1_0-none 62.1 84.3
        shufflenet_v2_x1_0-tam 67.3 87.6
        mobilenet_v2-none 64.1 85.6
        mobilenet_v2-tam 71.6 90.1
        inception_v3-none 71.4 89.8
        inception_v3-tam 75.6 92.0
        resnet50-none 70.7 88.9
        resnet50-tam 76.1 92.3
        resnext50_32x4d-none 70.1 88.8
        resnext50_32x4d-tam 76.4 92.0
    """,
    "4": """
        tsn 3 250 72.5 90.2
        artnet 23.5 250 70.7 89.3
        s3d-g 71 30 74.7 93.4
        i3d 108 N/A 72.1 90.3
        r2plus1d 152 10 74.3 91.4
        nl-i3d-32f N/A N/A 74.9 91.6
        nl-i3d-128f 282 30 76.5 92.6
        ip-csn-50 1.2 10 70.8 N/A
        tsm 65 30 74.7 91.4
        teinet 86 30 76.2 92.5
        blvnet-tam 93 9 73.5 91.2
        slowonly 42 30 74.8 91.6
        slowfast 36 30 75.6 92.1
        tanet-8f 43 30 76.1 92.3
        tanet-16f 86 12 76.9 92.9
        x3d-xl 48 30 79.1 93.9
        ip-csn-152 83 30 79.2 93.8
        slowfast-nl 234 30 79.8 93.9
    """,
    "5a": """
        a 75.95 92.18
        b 76.09 92.30
        c 75.75 92.13
        d 75.20 91.78
    """,
    "5b": """
        res5 74.12 91.45
        res4-5 75.15 92.04
        res3-5 75.90 92.22
        res2-5 76.09 92.30
    """,
    "6": """
        tsn-bn-inception 16 19.5 N/A
        trn-multiscale 33 34.4 N/A
        s3d-g 71.38 48.2 78.7
        eco 64 41.6 N/A
        eco-en-lite 267 46.4 N/A
        tsn-r50 33 19.7 46.6
        i3d 306 41.6 72.2
        nl-i3d 334 44.4 76.0
        nl-i3d-gcn 606 46.1 76.8
        tsm-8f 33 45.6 74.2
        tsm-16f 65 47.2 77.1
        tsm-en 98 49.7 78.5
        tam-fan N/A 46.1 N/A
        blvnet-tam 48 48.4 78.8
        gst-8f 30 47.0 76.1
        gst-16f 59 48.6 77.9
        teinet-8f 33 47.4 N/A
        teinet-16f 66 49.9 N/A
        tanet-8f 33 46.5 75.8
        tanet-16f 66 47.6 77.7
        tanet-en 99 50.6 79.3
    """,
    "7": """
        trn 6 48.8 77.6
        tsm-8f 6 59.1 85.6
        tsm-16f 6 63.4 88.5
        tsm-rgb-flow 6 66.0 90.5
        cpnet 256 57.7 84.0
        gst-8f 1 61.6 87.2
        gst-16f 1 62.6 87.9
        blvnet-tam 1 61.7 88.1
        teinet-8f 1 61.3 N/A
        teinet-16f 1 62.1 N/A
        tanet-8f-1view 1 60.5 86.2
        tanet-8f 6 62.7 88.0
        tanet-16f-1view 1 62.5 87.6
        tanet-16f 6 64.6 89.5
        tanet-en 6 66.0 90.1
    """,
}
# Fields that the rows of a table of TANet's variants may change. All other fields are those of the Kinetics
# recipe.
CHANGES = {
    "1a": {"alpha", "beta"},
    "1b": {"kernel", "frames", "clips"},
    "2": {"temporal"},
    "3": {"backbone", "temporal"},
    "5a": {"position"},
    "5b": {"stages"},
}


@pytest.mark.parametrize("table", TABLES)
def test_figures_match_paper(table):
    columns = ["top1", "top5"]
    more = {"2": ["gflops", "params_m"], "4": ["gflops", "views"], "6": ["gflops"], "7": ["views"]}
    columns = more.get(table, []) + columns
    rows = [[name, *(getattr(row, column) for column in columns)] for name, row in TABLES[table].items()]
    printed = [line.split() for line in PRINTED[table].strip().splitlines()]
    numbers = [[None if one == "N/A" else float(one) for one in figures] for _, *figures in printed]
    assert rows == [[name, *figures] for (name, *_), figures in zip(printed, numbers, strict=True)]


def differences_from_kinetics400(recipe):
    """Return the fields, with values, that differ from the Kinetics recipe."""
    found = {}
    for section in dataclasses.fields(recipe):
        ours, theirs = getattr(recipe, section.name), getattr(KINETICS400, section.name)
        if dataclasses.is_dataclass(ours):
            names = [field.name for field in dataclasses.fields(ours)]
            found |= {n: getattr(ours, n) for n in names if getattr(ours, n) != getattr(theirs, n)}
        else:
            assert ours == theirs
    return found


@pytest.mark.parametrize("table", CHANGES)
def test_row_changes_only_fields_of_its_table(table):
    for name, row in TABLES[table].items():
        changed = differences_from_kinetics400(row.recipe)
        assert set(changed) <= CHANGES[table]
        # The name of the row contains the values.
        for field, value in changed.items():
            if field not in ("stages", "clips"):
                assert str(value) in name
    recipes = [row.recipe for row in TABLES[table].values()]
    assert len(set(recipes)) == len(recipes)


def test_default_of_paper_is_in_every_table():
    for table, name in (
        ("1a", "alpha2-beta4"),
        ("1b", "kernel3-frames8"),
        ("2", "tam"),
        ("3", "resnet50-tam"),
    ):
        assert TABLES[table][name].recipe == KINETICS400
    assert TABLES["5b"]["res2-5"].recipe == KINETICS400
    assert differences_from_kinetics400(TABLES["5a"]["b"].recipe) == {"position": "b"}


def test_longer_clips_are_tested_with_fewer_clips():
    views = {row.recipe.model.frames: row.recipe.eval.clips for row in TABLES["1b"].values()}
    assert views == {8: 10, 16: 4}
    assert all(row.recipe.eval.crops == 3 for table in CHANGES for row in TABLES[table].values())


def test_rows_of_table_2_are_named_after_modules():
    assert all(row.recipe.model.temporal == name for name, row in TABLES["2"].items())
    assert set(TABLES["2"]) == set(TEMPORAL) - {"tam-ibm", "gst", "stm", "tada", "tsm-online"}


def test_network_of_every_row_can_be_built():
    models = {row.recipe.model for table in CHANGES for row in TABLES[table].values()}
    for model in models:
        assert build_on_meta(model, classes=400).head.out_features == 400


def test_table_5b_has_numbers_of_tams_of_paper():
    networks = [build_on_meta(row.recipe.model, classes=400) for row in TABLES["5b"].values()]
    assert [sum(isinstance(m, TAM) for m in n.modules()) for n in networks] == [3, 9, 13, 16]


def test_recipes_are_found_by_name():
    for name, recipe in RECIPES.items():
        assert find_recipe(name) is recipe
    for table, rows in TABLES.items():
        assert find_table(table) is rows
        for name, row in rows.items():
            assert find_recipe(f"table{table}/{name}") is row.recipe


def test_rows_of_table_4_have_clips_and_views_of_paper():
    inputs = {name: (row.recipe.model.frames, row.recipe.data.size) for name, row in TABLES["4"].items()}
    assert inputs == {
        "tsn": (3, 299),
        "blvnet-tam": (48, 224),
        "artnet": (16, 112),
        "s3d-g": (64, 224),
        "i3d": (64, 224),
        "r2plus1d": (32, 112),
        "ip-csn-50": (8, 224),
        "ip-csn-152": (32, 224),
        "nl-i3d-32f": (32, 224),
        "nl-i3d-128f": (128, 224),
        "tsm": (16, 224),
        "teinet": (16, 224),
        "slowonly": (8, 224),
        "slowfast": (32, 224),
        "tanet-8f": (8, 224),
        "tanet-16f": (16, 224),
        "x3d-xl": (16, 312),
        "slowfast-nl": (64, 224),
    }
    for name in inputs:
        row = TABLES["4"][name]
        eval = row.recipe.eval
        # The paper counts TSN's 25 frames in 10 crops as 250 views of one frame.
        views = max(1, eval.clip_frames) * eval.clips * eval.crops
        assert views == (30 if name == "nl-i3d-32f" else row.views or 1)
    assert find_recipe("table4/tanet-8f") == KINETICS400
    assert find_recipe("table4/tanet-16f") == RECIPES["kinetics400-16f"]
    trained = {
        "i3d": "i3d-inception",
        "nl-i3d-32f": "nl-i3d-r50",
        "slowonly": "slowonly-8x8",
        "slowfast": "slowfast-4x16",
        "x3d-xl": "x3d-xl",
        "slowfast-nl": "slowfast-nl-16x8",
        "artnet": "artnet-r18",
        "s3d-g": "s3d-g",
        "r2plus1d": "r2plus1d-34",
        "ip-csn-50": "ip-csn-50",
        "ip-csn-152": "ip-csn-152",
    }
    assert all(find_recipe(f"table4/{row}") is RECIPES[name] for row, name in trained.items())
    long = find_recipe("table4/nl-i3d-128f")
    assert (long.data.window, long.data.rate, long.optim.epochs) == (128, "video", 104)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "kinetics",
            r"unknown recipe 'kinetics': choose from finetune, .*kinetics400, .*, verbs, table1a/…, .*7/…$",
        ),
        ("", r"unknown recipe '': choose from finetune"),
        ("table9/tam", r"unknown table '9': choose from 1a, 1b, 2, 3, 4, 5a, 5b, 6, 7$"),
        ("table2/tma", r"unknown row 'tma' of table 2: choose from none, pool, tconv, .*, tam$"),
        ("table2", r"unknown row '' of table 2: choose from none"),
    ],
)
def test_unknown_name_is_rejected_with_known_names(name, message):
    with pytest.raises(ValueError, match=message):
        find_recipe(name)

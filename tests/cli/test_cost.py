"""`tanet cost` counts and times networks of all kinds, and compares the paper's tables with our counts."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch

from tanet.checkpoints import checkpoint
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.checkpoints.pretrained.entries import list_weights
from tanet.cli import main
from tanet.cli.paper_tables import SYSTEMS
from tanet.models.architectures import ARCHITECTURES
from tanet.models.factory import build
from tanet.profiling import latency
from tanet.recipes import RECIPES, TABLES
from tests.support.narrow_networks import NARROW
from tests.support.tiny_videos import TINY


def run_cost(*args):
    return main(["cost", *args])


def test_cost_command_shows_parts_of_recipe(capsys):
    assert run_cost("something-v1", "--model.frames", "16", "--size", "224", "--classes", "174") == 0
    shown = capsys.readouterr().out
    assert "16 frames of 224 × 224, 174 classes" in shown
    for line in (("2D network", "23,508,032"), ("temporal modules", "1,270,112"), ("all", "25,134,670")):
        assert any(all(word in text for word in line) for text in shown.splitlines())
    assert "1 × 1, 65.514 G multiply-adds" in shown


def test_cost_command_uses_defaults_of_recipe(capsys):
    assert run_cost("table5b/res5") == 0
    shown = capsys.readouterr().out
    assert "8 frames of 256 × 256, 400 classes" in shown
    assert "25,115,456" in shown
    assert "10 × 3" in shown


def test_cost_command_compares_table_with_paper(capsys, tmp_path):
    path = tmp_path / "cost.json"
    assert run_cost("--table", "2", "--json", str(path)) == 0
    shown = capsys.readouterr().out
    lines = {line.split()[0].rstrip(":"): line.split() for line in shown.splitlines() if line.split()}
    numbers = ["42.78", "25,590,320", "43.02", "43.02G", "25.59M", "76.1", "92.3"]
    assert lines["tam"] == ["tam", "10", "×", "3", *numbers]
    assert "64.45 G here, 64.49 G in the paper: counting one operation" in shown
    assert "42.96 G here, 43.00 G in the paper: its convolutions" in shown
    assert shown.count(" G here") == 2
    assert "…" not in shown
    networks = json.loads(path.read_text())["networks"]
    assert [network["name"] for network in networks] == list(TABLES["2"])
    tam = networks[-1]
    paper = {"top1": 76.1, "top5": 92.3, "gflops": 43.02, "params_m": 25.59, "note": ""}
    rest = {"views": None, "size": None, "has_products": False, "clips": 1, "weights": []}
    assert tam["paper"] == paper | rest
    assert (tam["parameters"], tam["views"]) == (25_590_320, {"clips": 10, "crops": 3})
    assert tam["macs"] == sum(part["dense"] + part["taps"] for part in tam["parts"].values())
    assert tam["speeds"] == []


def test_table_4_has_every_row_of_paper_in_its_order(capsys, tmp_path):
    path = tmp_path / "cost.json"
    assert run_cost("--table", "4", "--json", str(path)) == 0
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines() if line.startswith(" ")]
    names = [words[0] for words in lines if words and words[0] in TABLES["4"]]
    assert names == list(TABLES["4"])
    found = {words[0]: words[1:] for words in lines if words}
    row = ["32×224²", "27.64", "34,480,216", "256", "36.10", "36×30", "75.6", "92.1"]
    assert found["slowfast"] == row
    assert found["slowonly"][3:6] == ["224", "41.74", "42×30"]
    assert found["x3d-xl"][:5] == ["16×312²", "35.84", "11,095,904", "356", "48.42"]
    assert found["blvnet-tam"] == ["48×224²", "71.57", "25,483,216", "256", "93.47", "93×9", "73.5", "91.2"]
    assert found["ip-csn-50"][3:] == ["224", "11.91", "1.2×10", "70.8", "–"]
    assert re.search(r"\+47\.83 +\+81\.60", shown)
    assert "ip-csn-50: 11.91 G here, 1.2 G in the paper: a misprint of 11.9" in shown
    assert "280.16 G here with attention's products, 282 G in the paper: with padding" in shown
    assert max(map(len, shown.splitlines()[2:25])) <= 80
    networks = {network["name"]: network for network in json.loads(path.read_text())["networks"]}
    assert list(networks) == names
    nonlocal_ = networks["nl-i3d-32f"]
    assert (nonlocal_["size"], nonlocal_["training"]["size"]) == (256, 224)
    assert nonlocal_["training"]["attention_macs"] == pytest.approx(2.990e9, rel=1e-3)
    assert_page_shows(networks)
    compared = check_figures_of_table_4(networks)
    in_2d = {"tsm", "teinet", "tanet-8f", "tanet-16f"}
    assert compared == in_2d | {"blvnet-tam", "slowonly", "slowfast", "x3d-xl", "r2plus1d", "ip-csn-152"}


def assert_page_shows(networks):
    """Assert that docs/cost.md has a line with the counts of each row of Table 4."""
    page = (Path(__file__).parents[2] / "docs" / "cost.md").read_text().partition("## Table 4")[2]
    for name, network in networks.items():
        line = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        if network["model"] is None:
            assert "not here yet" in line
            continue
        for counted in (network, network["training"]):
            layers, products = counted["macs"] - counted["attention_macs"], counted["attention_macs"]
            shown = f"{layers / 1e9:.2f}" + (f" + {products / 1e9:.2f}" if products else "")
            assert f"| {shown} |" in line
        assert f"| {network['parameters']:,} | {network['size']} |" in line


def check_figures_of_table_4(networks):
    """Assert that a row has a note if and only if our count differs. Return the rows without a note."""
    compared = set()
    for name, row in TABLES["4"].items():
        if row.recipe and row.gflops:
            network = networks[name]
            assert network["size"] == row.size
            layers = network["macs"] - network["attention_macs"]
            ours = network["macs"] if row.has_products else layers
            assert (abs(ours / 1e9 - row.gflops) > 0.5) == bool(row.note)
            compared |= set() if row.note else {name}
    return compared


def test_every_system_of_the_paper_is_shown(capsys, tmp_path, monkeypatch):
    assert SYSTEMS == ("4", "6", "7")
    monkeypatch.setattr("tanet.cli.cost.SYSTEMS", ("6", "7"))  # Table 4 is counted by the test above
    path = tmp_path / "paper.json"
    assert run_cost("--paper", "--json", str(path)) == 0
    shown = capsys.readouterr().out
    tables = json.loads(path.read_text())["tables"]
    assert {table: list(rows) for table, rows in tables.items()} == {t: list(TABLES[t]) for t in ("6", "7")}
    lines = {
        line.split()[0]: line.split() for line in shown.splitlines() if line.startswith(" ") and line.split()
    }
    assert lines["eco-en-lite"][1:] == ["ECO-Lite", "16+20+24+32", "149.55", "267.30", "267", "46.4", "–"]
    assert lines["tsm-rgb-flow"][-6:] == ["16+16", "47.75", "135.21", "–", "66.0", "90.5"]
    assert lines["tsm-en"][-6:] == ["16+8", "47.73", "98.10", "98", "49.7", "78.5"]
    assert "trn-multiscale: 16.26 G here, 33 in the paper: a misprint: 33 are ResNet-50's" in shown
    assert "  tanet-en: tanet-r50-ssv1, tanet-r50-16f-ssv1" in shown
    for table in ("6", "7"):
        for name, row in TABLES[table].items():
            found = tables[table][name]
            if row.gflops:
                layers = (found["macs"] - found["attention_macs"]) / 1e9
                assert abs(layers - row.gflops) <= max(1.1, 0.004 * row.gflops) or row.note, name
            assert all(weights in list_weights() for weights in row.weights)
    tables_in_terminal = [line for line in shown.splitlines() if line.startswith(" ")]
    assert max(map(len, tables_in_terminal)) <= 80
    assert run_cost("--table", "7") == 0
    assert "CPNet-34" in capsys.readouterr().out
    assert run_cost("--paper", "--size", "64") == 2
    assert "leave out other flags" in capsys.readouterr().err


def test_cost_command_counts_architectures(capsys):
    assert run_cost("x3d-m") == 0  # also the name of a recipe, which has larger frames
    assert "16 frames of 224 × 224, 400 classes" in capsys.readouterr().out
    assert run_cost("slowonly-r50") == 0
    shown = capsys.readouterr().out
    assert "slowonly-r50: 3D ResNet-50, 3×1×1 convolutions; 8 frames of 224 × 224, 400 classes" in shown
    assert [line.split() for line in shown.splitlines() if "network" in line] == [
        ["network", "31,634,496", "41.740"]
    ]
    assert not any(word in shown for word in ("temporal modules", "FLOPs", "attention", "views"))
    assert run_cost("tam-slowfast-r50-4x16", "--size", "256", "--classes", "10", "--model.frames", "64") == 0
    shown = capsys.readouterr().out
    assert "SlowFast-50 8+64, TAM; 64 frames of 256 × 256, 10 classes" in shown
    assert "temporal modules" in shown
    assert run_cost("tsm-resnet50", "--model.temporal", "none") == 0
    shown = capsys.readouterr().out
    assert "resnet50 with temporal module none; 8 frames of 224 × 224" in shown
    assert "FLOPs as in Table 2" in shown


def test_cost_command_shows_products_of_attention(capsys):
    assert run_cost("slowfast-nl-r50-4x16") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["all", "41,838,680", "35.766", "2.990"] in lines
    assert run_cost("table2/nonlocal") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["all", "31,686,096", "84.589", "20.401", "64.449"] in lines


def test_recipe_and_architecture_of_the_same_name_have_the_same_network():
    for name in set(RECIPES) & set(ARCHITECTURES):
        assert RECIPES[name].model == ARCHITECTURES[name].settings


def test_cost_command_shows_views_of_3d_recipe(capsys):
    assert run_cost("table4/slowfast") == 0
    shown = capsys.readouterr().out
    assert "32 frames of 256 × 256, 400 classes" in shown
    assert "views of a video (clips × crops): 10 × 3, 1,083.059 G multiply-adds" in shown
    assert run_cost("table4/i3d", "--size", "64") == 0
    assert "views of a video (clips × crops): 1 × 1, of up to 250 frames" in capsys.readouterr().out


def test_cost_command_does_not_compare_other_sizes(capsys, monkeypatch):
    monkeypatch.setitem(TABLES, "2", {name: TABLES["2"][name] for name in ("none", "nonlocal", "tam")})
    assert run_cost("--table", "2", "--size", "64") == 0
    shown = capsys.readouterr().out
    assert "The paper's FLOPs and parameters are for 256 × 256, 400 classes." in shown
    assert "in the paper:" not in shown
    rows = {name: TABLES["4"][name] for name in ("blvnet-tam", "tsn", "slowonly")}
    monkeypatch.setitem(TABLES, "4", rows)
    assert run_cost("--table", "4", "--size", "96", "--classes", "5") == 0
    shown = capsys.readouterr().out
    assert "The paper's figures are for other sizes, and for 400 classes." in shown
    assert "in the paper:" not in shown


def test_cost_table_fits_in_terminal(capsys):
    assert run_cost("--table", "3", "--size", "96") == 0
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert "shufflenet_v2_x1_0-none" in shown


def test_cost_command_reads_checkpoint(capsys, tmp_path):
    path = tmp_path / "best.safetensors"
    network = build(TINY.model, classes=2)
    checkpoint.save(path, Checkpoint(network, TINY, ("a", "b")))
    assert run_cost(str(path)) == 0
    shown = capsys.readouterr().out
    assert f"{sum(p.numel() for p in network.parameters()):,}" in shown
    assert "4 frames of 32 × 32, 2 classes" in shown
    # 2 classes × 128 features × 4 frames are so few operations that the table is in M, not in G.
    assert ["classifier", "258", "0.001", "0.001"] in [line.split() for line in shown.splitlines()]
    assert run_cost(str(path), "--classes", "3") == 2
    assert "has 2 classes: they cannot be changed to 3" in capsys.readouterr().err
    assert run_cost(str(path), "--model.frames", "8") == 2
    assert "--model flags apply only to a recipe or a network, not to a checkpoint" in capsys.readouterr().err
    # A checkpoint is recognised by its content, not by its name.
    assert run_cost(str(path.rename(tmp_path / "best"))) == 0
    assert "4 frames of 32 × 32, 2 classes" in capsys.readouterr().out


def test_cost_command_reads_checkpoint_of_3d_network(capsys, tmp_path):
    path = tmp_path / "best.safetensors"
    recipe = dataclasses.replace(TINY, model=NARROW["slowfast"])
    network = build(recipe.model, classes=2)
    checkpoint.save(path, Checkpoint(network, recipe, ("a", "b")))
    assert run_cost(str(path)) == 0
    shown = capsys.readouterr().out
    assert f"{sum(p.numel() for p in network.parameters()):,}" in shown
    assert "8 frames of 32 × 32, 2 classes" in shown


def test_cost_command_accepts_more_frames_than_sampling_window(capsys):
    assert run_cost("kinetics400", "--model.frames", "128", "--size", "32") == 0
    shown = capsys.readouterr().out
    assert "128 frames of 32 × 32" in shown
    assert "10 × 3" in shown


def test_cost_help_shows_each_example_on_its_own_line(capsys):
    with pytest.raises(SystemExit):
        run_cost("--help")
    assert capsys.readouterr().out.count("\n  tanet cost ") == 6


def test_cost_command_measures_latency(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(latency, "ENOUGH", 0.0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # benchmarks in the same process may change it
    path = tmp_path / "speed.json"
    flags = ["--model.backbone", "resnet18_w16", "--size", "32", "--classes", "2", "--device", "cpu"]
    assert run_cost("finetune", *flags, "--measure", "--batch", "3", "--json", str(path)) == 0
    shown = capsys.readouterr().out
    assert "cpu, 1 threads, float32" in shown
    assert "Memory is measured on a GPU only." in shown
    written = json.loads(path.read_text())
    assert written["device"] == "cpu, 1 threads"
    speeds = written["networks"][0]["speeds"]
    assert [speed["batch"] for speed in speeds] == [1, 3]
    for speed in speeds:
        assert f"{speed['p50'] * 1e3:,.1f}" in shown


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "name a recipe, a network, a checkpoint, a --table or --paper"),
        (["kinetics400", "--table", "2"], "name a recipe, a network, a checkpoint, a --table or --paper"),
        (["kinetics"], "unknown recipe 'kinetics': choose from finetune, finetune-cpu, kinetics400"),
        (["table2/tma"], "unknown row 'tma' of table 2: choose from none, pool"),
        (["--table", "9"], "unknown table '9': choose from 1a, 1b, 2, 3, 4, 5a, 5b, 6, 7"),
        (
            ["--table", "2", "--model.frames", "16"],
            "--model flags apply only to a recipe or a network, not to the rows of table 2",
        ),
        (
            ["none.safetensors"],
            "unknown recipe 'none.safetensors': choose from finetune, finetune-cpu, kinetics400",
        ),
        (["runs/none"], "there is also no file of this name"),
        (["x3d-xxl"], "or a network: c2d-resnet50, "),
        (["slowfast-r50-4x16", "--model.frames", "30"], "model.frames 30 must be a multiple of "),
        (["kinetics400", "--model.temporal", "tma"], "unknown temporal module 'tma': choose from none"),
        (["kinetics400", "--size", "0"], "size must be positive, not 0"),
        (["kinetics400", "--classes", "0"], "must be positive"),
    ],
)
def test_errors_are_one_line(args, message, capsys):
    assert run_cost(*args) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""

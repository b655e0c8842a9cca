"""README keeps its word: its commands exist, its flags are fields, its Python runs, its tables are whole."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

import tanet
from bench.common import read_csv
from bench.compare_lines import current, lines
from bench.compare_statistics import spread
from tanet.checkpoints import checkpoint
from tanet.cli import main
from tanet.models.backbones2d import BACKBONES
from tanet.models.temporal import TEMPORAL
from tanet.recipes import RECIPES
from tests.support.tiny_videos import TINY, make

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_make_has_the_targets():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", "\n".join(blocks("")), flags=re.MULTILINE):
        assert f"\n{target}:" in makefile


def test_commands_and_flags_are_known(capsys):
    for line in "\n".join(blocks("")).splitlines():
        if not line.startswith("tanet "):
            continue
        words = shlex.split(line)[1:]
        command = words[:2] if words[0] in ("train", "data") else words[:1]
        with pytest.raises(SystemExit) as stop:
            main([*command, "--help"])
        assert stop.value.code == 0
        shown = capsys.readouterr().out
        for flag in (word for word in words if word.startswith("--")):
            assert flag in shown
    with pytest.raises(SystemExit):
        main(["train", "finetune", "--help"])
    shown = capsys.readouterr().out
    for flag in re.findall(r"`?(--(?:data|model|optim|eval)\.[a-z_]+)", README):
        assert flag in shown


def test_python_runs(tmp_path, monkeypatch):
    load, rest = blocks("python")
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "jump.mp4")
    torch.manual_seed(0)
    network = tanet.build(TINY.model, classes=2)
    checkpoint.save(
        tmp_path / "runs/finetune/best.safetensors", checkpoint.Checkpoint(network, TINY, ("a", "b"))
    )
    known = {"resnet": BACKBONES["resnet18"](), "frames": np.zeros((9, 32, 32, 3), np.uint8)}
    exec(load, known)
    exec(rest, known)


def test_tables_name_everything():
    for name in RECIPES:
        assert f"| `{name}` |" in README
    for name in TEMPORAL:
        assert f"`{name}`" in README
    titles = README.lower().replace("-", "").replace(" ", "")
    for name in (
        "resnet18/34/50/101/152",
        "resnext5032×4d",
        "mobilenetv2",
        "shufflenetv2×1.0",
        "inceptionv3",
    ):
        assert name in titles


def test_the_table_of_modules_is_what_was_measured():
    rows = [row for row in current(read_csv(ROOT / "results" / "compare.csv")) if not row["made"]]
    speeds = read_csv(ROOT / "results" / "compare_speed.csv")
    arrow6, synthetic = (lines("2", name, "", rows, speeds) for name in ("arrow6", "synthetic"))
    for real, made_up in zip(arrow6, synthetic, strict=True):
        top1 = " | ".join(spread(list(line.top1.values())) for line in (real, made_up))
        times = f"{arrow6[0].clips_s / real.clips_s:.2f}, {synthetic[0].clips_s / made_up.clips_s:.2f}"
        assert f"| `{real.row}` | {top1} | {times} | {real.paper} |" in README
    two = {line.row: spread(list(line.top1.values())) for line in arrow6}
    assert f"| {two['none']} % | {two['tam']} % |" in README


def test_links_and_pictures_are_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists()

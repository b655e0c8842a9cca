"""README and docs/ are correct: commands and flags exist, code runs, tables are complete, links work."""

import re
import shlex
from pathlib import Path

import pytest
import torch

import tanet
from docs import make_table
from tanet.checkpoints import checkpoint
from tanet.cli import main
from tanet.evaluation.protocols import PROTOCOLS
from tanet.inference.models import DEFAULT_MODEL
from tanet.models.architectures import ARCHITECTURES
from tanet.models.backbones2d import BACKBONES
from tanet.models.temporal import TEMPORAL
from tanet.recipes import RECIPES
from tests.support.cached_weights import narrow_model, put_into_cache
from tests.support.tiny_videos import TINY, make

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {path.name: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
RECIPE_PAGES = ("train.md", "networks3d.md", "networks2d.md", "flow.md")
EVERY_PAGE = "\n".join(PAGES.values())


def code_blocks(language, text=EVERY_PAGE):
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    return [block for named, block in found if named == language]


def help_of(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help-all" if command[0] == "train" else "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_readme_has_at_most_800_words():
    assert len(README.split()) <= 800


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", "\n".join(code_blocks("")), flags=re.MULTILINE):
        assert f"\n{target}:" in makefile


def test_commands_and_flags_exist(capsys):
    known = {}
    lines = "\n".join(code_blocks("")).replace("\\\n", " ").splitlines()
    commands = [found[1] for line in lines if (found := re.match(r"(?:torchrun .*-m )?tanet (.*)", line))]
    assert len(commands) > 25
    for line in commands:
        words = shlex.split(line, comments=True)
        command = tuple(words[:2] if words[0] in ("train", "data") else words[:1])
        if command not in known:
            known[command] = help_of(command, capsys)
        for flag in (word for word in words if word.startswith("--") and word != "--help-all"):
            assert flag in known[command], line
    every_flag = "\n".join(known.values())
    for flag in re.findall(r"`?(--(?:data|model|optim|eval)\.[a-z-]+)", EVERY_PAGE):
        assert flag in every_flag
    for flag in re.findall(r"`(--[a-z][a-z.-]+)", EVERY_PAGE):
        assert flag in every_flag or flag == "--help-all", flag


def test_benchmarks_exist():
    for name in re.findall(r"python -m bench[. ](\w+)", EVERY_PAGE):
        assert (ROOT / "bench" / f"{name}.py").exists()


@pytest.mark.slow
def test_python_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TANET_HOME", str(tmp_path / "home"))  # narrow networks instead of published weights
    for number, name in enumerate((DEFAULT_MODEL, "tsm-r50-k400")):
        put_into_cache(name, narrow_model("a", "b", seed=number))
    make(tmp_path / "new_video.mp4")
    make(tmp_path / "jump.mp4")
    torch.manual_seed(0)
    network = tanet.build(TINY.model, classes=2)
    checkpoint.save(tmp_path / "runs/mine/best.safetensors", checkpoint.Checkpoint(network, TINY, ("a", "b")))
    for name, text in PAGES.items():
        known = {"resnet": BACKBONES["resnet18"]()}
        for block in code_blocks("python", text):
            exec(compile(block, name, "exec"), known)


def test_tables_are_complete():
    for name in RECIPES:
        assert any(f"| `{name}` |" in PAGES[page] for page in RECIPE_PAGES)
    for name, found in ARCHITECTURES.items():
        spec, frames = found.input_spec, found.settings.frames
        row = f"`{name}`.* \\| {frames} × {spec.frame_step}, {spec.size}²"
        assert found.settings.family == "2d" or re.search(
            row, PAGES["networks3d.md"] + PAGES["networks2d.md"]
        )
    for name in TEMPORAL:
        assert f"`{name}`" in PAGES["python.md"]
    for name in BACKBONES.keys() - {"resnet18_w16"}:  # the narrow network is only for tests and the demo
        assert f"`{name}`" in PAGES["python.md"]
    for name in PROTOCOLS:
        assert f"| `{name}` |" in PAGES["test.md"]


@pytest.mark.slow
def test_table_of_modules_matches_measurements():
    assert make_table.table() in README


def test_links_and_images_exist():
    for name, text in PAGES.items():
        folder = ROOT if name == "README.md" else ROOT / "docs"
        for target in re.findall(r"\]\(([^)]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            path, _, heading = target.partition("#")
            assert target.startswith("https://") or (folder / path).exists(), (name, target)
            if heading:
                page = (folder / path).read_text() if path else text
                titles = re.findall(r"^#+ (.*)$", page, flags=re.MULTILINE)
                assert heading in {title.lower().replace(" ", "-") for title in titles}, target

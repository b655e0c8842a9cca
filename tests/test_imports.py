"""The law of the house: imports only go up the list, and `import tanet` is quick and light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tanet"
# A file may import from the lines above its own.
HOUSE = [
    {"recipe", "ops", "fold", "video", "device", "sites", "frames", "workers", "lists", "stop"},
    {"shards", "distributed"},
    {
        "temporal",
        "backbones",
        "recipes",
        "sampling",
        "transforms",
        "metrics",
        "synthetic",
        "annotation",
        "inspection",
    },
    {"device_views"},
    {"plug", "fuse", "datasets", "optim", "catalog", "protocols"},
    {"network", "indexing", "feed", "prefetch", "coding", "gradients"},
    {"checkpoint", "cost", "step"},
    {"evaluate", "convert", "packing", "memory", "state"},
    {"plan", "start"},
    {"watch"},
    {"nonfinite", "run", "validation", "prepare", "board", "agreement"},
    {"predict", "train", "report", "visualize", "scores"},
    {"demo", "screen", "captions", "ensemble"},
    {"figures"},
    {"cli"},
    {"__main__"},
]
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tanet":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_up(path):
    own = room(path)
    if own == "__init__":
        return
    floor = next(i for i, rooms in enumerate(HOUSE) if own in rooms)
    above = {name for rooms in HOUSE[:floor] for name in rooms} | {own}
    assert set(imports(path)) <= above


def test_every_file_has_its_place():
    rooms = [name for floor in HOUSE for name in floor]
    assert {room(path) for path in FILES} - {"__init__"} == set(rooms)
    assert len(rooms) == len(set(rooms))


def test_every_file_fits_its_idea():
    for path in FILES:
        text = path.read_text()
        assert text.startswith('"""'), f"{path} does not say what it is"
        assert len(text.splitlines()) <= 300, f"{path} is longer than 300 lines"


def test_only_the_command_prints():
    for path in FILES:
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        names = {func.id for func in calls if isinstance(func, ast.Name)}
        assert "print" not in names or room(path) == "cli"


def test_import_is_light():
    heavy = ("triton", "matplotlib", "av", "tyro", "rich", "torchvision", "onnx")
    code = f"import sys, tanet; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

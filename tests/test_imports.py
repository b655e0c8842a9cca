"""Rules for the code: import order, length of files and functions, who may print, and a light import."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tanet
from tanet import old_modules

PACKAGE = Path(__file__).parents[1] / "tanet"
# A package may import only from itself and from the groups above its own.
ORDER = (
    "errors · old_modules",
    "runtime",
    "recipes · ops · video · synthetic",
    "models · data",
    "profiling · checkpoints · evaluation",
    "visualization",
    "inference · training",
    "demo",
    "cli",
    "__main__",
)
GROUPS = [group.split(" · ") for group in ORDER]
FILES = sorted(PACKAGE.rglob("*.py"))


def package(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_packages(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tanet":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [alias.name for alias in node.names]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_package_imports_only_from_groups_above_it(path):
    own = package(path)
    if own == "__init__":
        return
    at = next(i for i, group in enumerate(GROUPS) if own in group)
    left = {name for group in GROUPS[:at] for name in group} | {own}
    assert set(imported_packages(path)) <= left


def modules():
    """Yield each module of tanet with the tanet modules that it imports at module level."""
    names = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in FILES
    }
    for name, path in names.items():
        found = set()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tanet":
                whole = {f"{node.module}.{alias.name}" for alias in node.names} & names.keys()
                found |= whole or {node.module}
        yield name, found - {name}


def test_imports_have_no_cycle():
    left = dict(modules())
    while free := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"these import each other: {sorted(left)}"


def test_every_package_is_in_a_group():
    assert {package(path) for path in FILES} - {"__init__"} == {name for group in GROUPS for name in group}
    rooms = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(rooms) <= 20


def test_files_have_docstring_and_at_most_300_lines():
    for path in FILES:
        text = path.read_text()
        assert text.startswith('"""'), f"{path} does not say what it is"
        assert len(text.splitlines()) <= 300, f"{path} is longer than 300 lines"


def code_lines(function, lines):
    """Count the lines of a function body without docstring, comments and blank lines."""
    first = function.body[1] if ast.get_docstring(function) and len(function.body) > 1 else function.body[0]
    own = lines[first.lineno - 1 : function.end_lineno]
    return sum(1 for line in own if line.strip() and not line.strip().startswith("#"))


def test_functions_have_at_most_60_lines():
    for path in (
        *FILES,
        *(file for name in ("bench", "projects", "docs") for file in (PACKAGE.parent / name).rglob("*.py")),
    ):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert code_lines(node, text.splitlines()) <= 60, f"{path}: {node.name} has over 60 lines"


def test_only_cli_prints():
    for path in FILES:
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        names = {func.id for func in calls if isinstance(func, ast.Name)}
        assert "print" not in names or package(path) == "cli"


def test_import_loads_no_heavy_package():
    heavy = ("triton", "matplotlib", "av", "tyro", "rich", "torchvision", "onnx")
    code = f"""
import sys, tanet
print("torch" in sys.modules)
tanet.models.temporal.TAM, tanet.checkpoints.checkpoint.load  # modules need no import of their own
assert set(dir(tanet)) >= {{*tanet.__all__, "__version__", "models"}}
for name in tanet.__all__:
    assert getattr(tanet, name).__name__ == name
tanet.load = None
assert not hasattr(tanet, "other") and tanet.load is None  # a name that a test has replaced stays so
print("torch" in sys.modules, [name for name in {heavy} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["False", "True []"]


def test_threads_may_use_names_at_once():
    code = """
import tanet
from concurrent.futures import ThreadPoolExecutor
names = tanet.__all__
with ThreadPoolExecutor(len(names)) as pool:
    print(len(list(pool.map(lambda name: getattr(tanet, name), names))) == len(names))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_unknown_name_is_no_attribute():
    for name in ("tran", "__wrapped__", "_run", "a.b"):
        with pytest.raises(AttributeError, match=f"module 'tanet' has no attribute '{name}'"):
            getattr(tanet, name)


def test_help_and_wrong_commands_do_not_wait_for_pytorch():
    code = """
import sys
from tanet.cli import main
status = main(["--help"]), main(["--version"]), main(["trian"])
print(status, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("(0, 0, 2) False\n")
    assert "Recognise actions in video" in done.stdout
    assert done.stderr.startswith("tanet: unknown command 'trian'")


def test_importing_modules_has_no_side_effects():
    """Importing all of tanet loads no decoder or plotting package and does not query the CPU cores."""
    names = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in FILES
        if "triton_" not in path.name and "tam_inference" not in path.parts and path.name != "__main__.py"
    ]
    code = f"""
import importlib, os, sys
import torch
asked = []
os.sched_getaffinity = os.cpu_count = lambda *_: asked.append("cores") or {{0}}
for name in {names}:
    importlib.import_module(name)
print([name for name in ("av", "huggingface_hub", "matplotlib", "tensorboard") if name in sys.modules], asked)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"


@pytest.mark.parametrize(("old", "new"), old_modules.MOVED.items())
def test_old_module_names_import_new_modules(old, new):
    if old.endswith("_triton"):
        pytest.skip("needs Triton")
    sys.modules.pop(f"tanet.{old}", None)
    with pytest.warns(DeprecationWarning, match=rf"^tanet\.{old} is called tanet\.{new} now$"):
        module = importlib.import_module(f"tanet.{old}")
    assert vars(module).keys() >= vars(importlib.import_module(f"tanet.{new}")).keys()


def test_tree_in_contributing_matches_files():
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text()
    tree = text[text.index("```\ntanet/\n") :].split("```")[1]
    named, folder = set(), ""
    for line in tree.splitlines()[2:]:
        if not line.startswith(" "):
            break  # the entries after tanet/, such as bench/ and tests/
        words = re.match(r" +((?:\S+\.py|\S+/)(?: \S+\.py)*)", line)[1].split()
        inside = line.startswith("    ")
        named |= {f"{folder}{word}" if inside else word for word in words}
        folder = folder if inside else words[0]

    def on_disk(place):
        """Return the files and subfolders of a folder, as the tree names them."""
        return {
            f"{path.relative_to(PACKAGE).as_posix()}{'/' if path.is_dir() else ''}"
            for path in (PACKAGE / place).iterdir()
            if path.name not in ("__init__.py", "__main__.py", "__pycache__", "py.typed")
        }

    expected = on_disk("")
    for place in {name for name in named if name.count("/") == 1 and name.endswith("/")}:
        inside = {name for name in named if name.startswith(place)}
        # If the tree lists any file of a package, it must list all; otherwise it may list some subfolders.
        whole = any(name.endswith(".py") for name in inside)
        expected |= on_disk(place) if whole else on_disk(place) & inside
    assert named == expected

"""The wheel contains the whole library and works in a new environment outside the checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
import torch

from tanet.checkpoints import checkpoint
from tanet.models.factory import build
from tests.support.tiny_videos import TINY, make

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("setuptools")
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE", "tanet", "bench", "tests"):
        (source / name).symlink_to(ROOT / name)  # a build folder of the checkout must not leak into the wheel
    out = tmp_path_factory.mktemp("wheel")
    build_wheel = "import sys, setuptools.build_meta as b; print(b.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build_wheel, str(out)], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """Python of a new environment that contains the wheel and uses the dependencies of this environment."""
    place = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(place, with_pip=False)
    libraries = Path(sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)}))
    zipfile.ZipFile(wheel).extractall(libraries)
    (libraries / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return place / "bin" / "python"


def run(python, *arguments, folder):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [python, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_wheel_contains_only_library(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "tanet/py.typed" in names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"tanet"}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tanet").rglob("*.py")}
    assert modules <= set(names)
    pretrained = "tanet/checkpoints/pretrained"
    assert {f"{pretrained}/index.csv", f"{pretrained}/labels/k400.txt"} <= set(names)
    scripts = next(name for name in names if name.endswith("entry_points.txt"))
    assert b"tanet = tanet.cli:main" in zipfile.ZipFile(wheel).read(scripts)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("licenses/NOTICE") for name in names)


@pytest.mark.slow
def test_installed_wheel_predicts_video(python, tmp_path):
    torch.manual_seed(0)
    model = checkpoint.Checkpoint(build(TINY.model, classes=2), TINY, ("left", "right"))
    checkpoint.save(tmp_path / "model.safetensors", model)
    make(tmp_path / "clip.mp4")
    shown = run(python, "-c", "import tanet.cli as cli; print(cli.__file__); cli.main([])", folder=tmp_path)
    assert shown.stdout.startswith(str(python.parents[1])), shown.stderr
    assert "tanet predict VIDEO" in shown.stdout
    answer = run(python, "-m", "tanet", "predict", "model.safetensors", "clip.mp4", folder=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("clip.mp4  ")


@pytest.mark.slow
def test_installed_wheel_has_type_hints(python, tmp_path):
    pytest.importorskip("pyright")
    script = tmp_path / "script.py"
    script.write_text("import tanet\nreveal_type(tanet.predict)\ntanet.load(3)\n")
    flags = ["--outputjson", "--pythonpath", str(python), str(script)]
    found = json.loads(run(sys.executable, "-m", "pyright", *flags, folder=tmp_path).stdout)
    told = {one["severity"]: one["message"] for one in found["generalDiagnostics"]}
    assert "Prediction" in told["information"]
    assert '"Literal[3]"' in told["error"]

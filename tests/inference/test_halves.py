"""The two halves of predict give its answer, also in the functions of the example for Ray."""

import csv
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import tanet
from tanet.checkpoints import checkpoint
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.models.factory import build
from tests.support.tiny_videos import TINY, changed, make

EXAMPLE = Path(__file__).parents[2] / "examples" / "label_with_ray.py"


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    recipe = changed(TINY, eval={"clips": 2, "crops": 3})
    network = build(recipe.model, classes=3).eval()
    torch.nn.init.normal_(network.head.weight)
    return Checkpoint(network, recipe, ("a", "b", "c"))


def test_views_and_classify_are_predict(model, tmp_path):
    paths = [make(tmp_path / f"{seed}.mp4", seed=seed) for seed in range(3)]
    views = [tanet.views(path, model.recipe) for path in paths]
    assert views[0].shape == (6, 4, 3, 32, 32)
    together = tanet.classify(views, model)
    for path, scores in zip(paths, together, strict=True):
        assert dict(tanet.predict(path, model).top5) == pytest.approx(
            dict(zip("abc", scores.tolist(), strict=True)), abs=1e-5
        )


def test_flow_has_views_too(model, tmp_path):
    pytest.importorskip("cv2")
    recipe = changed(TINY, model={"flows": 2, "temporal": "tsm"})
    assert tanet.views(make(tmp_path / "0.mp4"), recipe).shape == (1, 4, 4, 32, 32)


def test_example_for_ray_answers_and_keeps_errors(model, tmp_path):
    checkpoint.save(tmp_path / "model.safetensors", model)
    example = runpy.run_path(str(EXAMPLE))
    paths = [str(make(tmp_path / "0.mp4")), str(tmp_path / "none.mp4"), str(make(tmp_path / "1.mp4", seed=1))]
    rows = [example["decode"]({"path": path}, model.recipe) for path in paths]
    batch = {
        "path": np.array(paths),
        "views": np.array([*(row["views"] for row in rows), None], object)[:-1],
        "error": np.array([row["error"] for row in rows]),
    }
    found = example["Label"](str(tmp_path / "model.safetensors"), "cpu")(batch)
    assert found["label"][0] == tanet.predict(paths[0], model).label
    assert found["label"][1] == ""
    assert "no such file" in found["error"][1]
    assert found["score"][2] == pytest.approx(tanet.predict(paths[2], model).score, abs=1e-5)


@pytest.mark.long
def test_example_runs_in_ray(model, tmp_path):
    pytest.importorskip("ray")
    checkpoint.save(tmp_path / "model.safetensors", model)
    (tmp_path / "videos.txt").write_text(f"{make(tmp_path / '0.mp4')}\n{tmp_path / 'none.mp4'}\n")
    words = [
        EXAMPLE,
        tmp_path / "videos.txt",
        tmp_path / "answers",
        "--model",
        tmp_path / "model.safetensors",
    ]
    subprocess.run([sys.executable, *map(str, words)], check=True, cwd=EXAMPLE.parents[1])
    rows = [row for file in (tmp_path / "answers").iterdir() for row in csv.DictReader(file.open())]
    found = {row["path"]: row for row in rows}
    assert found[str(tmp_path / "0.mp4")]["label"] == tanet.predict(tmp_path / "0.mp4", model).label
    assert "no such file" in found[str(tmp_path / "none.mp4")]["error"]

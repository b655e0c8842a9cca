"""What quick trainings hold: videos by their recordings, passes in the recipe's precision."""

import dataclasses
from pathlib import Path

import pytest
import torch
from clips import TINY, make_folders

from bench import decoded, held
from tanet.annotation import Sample
from tanet.network import build
from tanet.recipe import Optim


def test_recordings_stay_together_and_classes_alike():
    samples = [
        Sample(f"{label}/v_{verb}_g{group:02}_c{clip:02}.mp4", label)
        for label, verb in enumerate(("Run", "Run", "Jump"))  # as one class and its reverse
        for group in range(10)
        for clip in range(3)
    ]
    train, chosen = held.hold_out(samples, 0.2)
    assert len(train) + len(chosen) == len(samples)
    groups = [{held.recording(sample) for sample in part} for part in (train, chosen)]
    assert not groups[0] & groups[1]
    assert [sum(sample.label == label for sample in chosen) for label in range(3)] == [6, 6, 6]
    assert held.hold_out(samples, 0.2) == (train, chosen)
    with pytest.raises(ValueError, match="of 20 recordings leaves none on one side"):
        held.hold_out(samples, 0.01)


def test_nothing_is_chosen_on_val(tmp_path):
    root = make_folders(tmp_path / "videos", train=5, val=3)
    cpu = torch.device("cpu")
    assert [len(part) for part in held.hold(str(root), device=cpu)] == [10, 6]
    assert [len(part) for part in held.hold(str(root), device=cpu, part=0.2)] == [8, 2]
    with pytest.raises(ValueError, match=r"no data for a benchmark: .* has no val/ folder"):
        held.hold(str(root / "train"), device=cpu)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_passes_are_captured_as_the_recipe_computes(precision, monkeypatch):
    network = build(TINY.model, classes=2)
    before, seen = {k: v.clone() for k, v in network.state_dict().items()}, []

    class Autocast:
        def __init__(self, kind, dtype, *, enabled, cache_enabled):
            seen.append((kind, dtype, enabled, cache_enabled))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    def captured(module, clips):
        seen.append(tuple(clips[0].shape))
        module(*clips)  # warming up

    monkeypatch.setattr(torch, "autocast", Autocast)
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", captured)
    optim = dataclasses.replace(Optim(), batch=2, precision=precision)
    decoded.capture_passes(network.train(), optim, size=32)
    frames = TINY.model.frames
    assert seen == [("cuda", torch.bfloat16, precision == "bfloat16", False), (2, frames, 3, 32, 32)]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_files_of_other_paths_are_others():
    names = {decoded._raw(path, Path("raw")) for path in ("a/b_c.mp4", "a_b/c.mp4", Path("a/b_c.mp4"))}
    assert len(names) == 2

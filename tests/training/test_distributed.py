"""Training on two ranks gives the same result as on one. An error on one rank ends both with one message."""

import csv
import dataclasses
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tanet import train
from tanet.data.annotations import read_split
from tanet.models.factory import build
from tanet.runtime import distributed
from tanet.runtime.distributed import SINGLE_PROCESS, is_main_process, join_process_group
from tanet.training import training_state as states
from tanet.training.setup import convert_sync_batch_norms
from tests.support import rank_processes
from tests.support.tiny_videos import TINY, changed, make_folders


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Recipe of two epochs of five steps of four clips, with nine validation videos (an odd number)."""
    root = make_folders(tmp_path_factory.mktemp("videos"), train=10, val=4)
    (root / "val/move_left/9.mp4").write_bytes((root / "val/move_left/0.mp4").read_bytes())
    return changed(TINY, data={"root": str(root)}, optim={"epochs": 2, "lr": 0.001})


def exit_codes(processes):
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def read_metrics(out):
    return [
        [float(row[name]) for name in ("train_loss", "train_top1", "val_top1")]
        for row in csv.DictReader((out / "metrics.csv").open())
    ]


def test_process_group_without_torchrun_is_single_process():
    assert is_main_process()
    with join_process_group("cpu", timeout=1.0) as (group, device):
        assert group == SINGLE_PROCESS
        assert (group.all_reduce_max(3, 4), group.all_gather_objects("a"), device.type) == (
            [3, 4],
            ["a"],
            "cpu",
        )
        with pytest.raises(ValueError, match=r"^mine$"), group.errors_on_all_ranks():
            raise ValueError("mine")


@pytest.mark.slow
def test_two_ranks_learn_same_weights_as_one(recipe, tmp_path):
    # norm=False disables the BatchNorms, because each rank would compute its own batch statistics.
    outs = tmp_path / "one" / "run", tmp_path / "two" / "run"
    parts = changed(recipe, optim={"accumulate": 2})
    ranks = rank_processes.start(recipe, outs[0], norm=False)
    ranks += rank_processes.start(parts, outs[1], world_size=2, norm=False)
    assert exit_codes(ranks) == [0, 0, 0]
    one, two = map(read_metrics, outs)
    assert two == [pytest.approx(row, rel=1e-5) for row in one]
    a, b = (safetensors.torch.load_file(out / "last.safetensors") for out in outs)
    assert all(torch.allclose(a[name], b[name], rtol=1e-4, atol=1e-6) for name in a)
    first, second = map(rank_processes.read_steps, outs)
    for epoch, step, _ in first:
        both = second[epoch, step, 0] + second[epoch, step, 1]
        assert sorted(first[epoch, step, 0]) == sorted(both)
    # The training changes the weights by more than the tolerance above.
    torch.manual_seed(recipe.seed)
    start = build(recipe.model, classes=2).state_dict()
    assert not torch.allclose(a["head.weight"], start["head.weight"], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_all_ranks_report_error_of_one_rank(recipe, tmp_path):
    one = changed(recipe, data={"bad_files": "strict"})
    bad = Path(read_split(one.data).train[5].path)
    content = bad.read_bytes()
    bad.write_bytes(b"an error page")
    try:
        start = time.monotonic()
        assert exit_codes(rank_processes.start(one, tmp_path / "run", world_size=2)) == [2, 2]
        assert time.monotonic() - start < 60
    finally:
        bad.write_bytes(content)
    lines = [(tmp_path / f"error-{rank}.txt").read_text() for rank in (0, 1)]
    assert lines[0] == lines[1]
    assert f": {bad}: " in lines[0]
    assert lines[0].startswith("process ")


@pytest.mark.slow
def test_killed_rank_ends_other_rank(recipe, tmp_path):
    ranks = rank_processes.start(changed(recipe, optim={"epochs": 1000}), tmp_path / "run", world_size=2)
    while not states.list_states(tmp_path / "run"):
        time.sleep(0.01)
    ranks[1].kill()
    start = time.monotonic()
    assert exit_codes(ranks)[0] == 2
    assert time.monotonic() - start < 60
    assert "process 0 of 2: another process ended" in (tmp_path / "error-0.txt").read_text()


@pytest.mark.slow
def test_error_of_command_on_two_ranks_is_printed_once(recipe, tmp_path):
    flags = ["--data.root", recipe.data.root, "--out", str(tmp_path / "run"), "--device", "cpu"]
    words = ["train", "finetune", *flags, "--optim.batch", "5"]  # clips for two ranks
    one, other = rank_processes.run_command(words, tmp_path)
    assert one[0] != 0 != other[0]
    assert (one[2] + other[2]).count("tanet: ") == 1


@pytest.mark.slow
def test_all_ranks_report_error_while_one_builds_its_network(recipe, tmp_path):
    assert exit_codes(
        rank_processes.start(recipe, tmp_path / "run", world_size=2, rank_without_network=1)
    ) == [2, 2]
    for rank in (0, 1):
        assert (tmp_path / f"error-{rank}.txt").read_text() == "process 1 of 2: no network here"


@pytest.mark.slow
def test_bad_validation_videos_are_counted_over_all_ranks(recipe, tmp_path):
    one = changed(recipe, data={"max_bad": 0.12}, optim={"epochs": 1})  # 1 of 9 is below 0.12
    bad = Path(read_split(one.data).val[1].path)
    content = bad.read_bytes()
    bad.write_bytes(b"an error page")
    try:
        strict = changed(one, data={"max_bad": 0.1})
        ranks = rank_processes.start(one, tmp_path / "one/run", world_size=2)
        ranks += rank_processes.start(strict, tmp_path / "two/run", world_size=2)
        assert exit_codes(ranks) == [0, 0, 2, 2]
    finally:
        bad.write_bytes(content)
    assert "1 of 9 videos cannot be read" in (tmp_path / "two/error-0.txt").read_text()


def test_rank_uses_only_its_own_gpu(monkeypatch):
    touched = []
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", lambda device: touched.append(("set", device)))
    monkeypatch.setattr("torch.empty", lambda _, device: touched.append(("used", str(device))))
    for name in ("cuda", "cuda:0"):
        assert distributed._own_device(name) == torch.device("cuda", 1)
        assert touched == [("set", 1), ("used", "cuda:1")]
        touched.clear()
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="more processes than its 2 GPUs"):
        distributed._own_device("cuda")
    assert not touched
    assert distributed._own_device("cpu").type == "cpu"


@pytest.mark.parametrize("temporal", ["tam", "tsm"])
def test_converting_to_sync_norms_keeps_hooks_of_temporal_modules(temporal):
    network = build(dataclasses.replace(TINY.model, temporal=temporal, position="d"), classes=2).eval()
    clips = torch.randn(1, 4, 3, 32, 32)
    before, hooks = network(clips), _count_hooks(network)
    convert_sync_batch_norms(network)
    assert any(isinstance(module, torch.nn.SyncBatchNorm) for module in network.modules())
    assert _count_hooks(network) == hooks
    assert len(hooks) == 8  # one per block
    assert torch.equal(network(clips), before)


def _count_hooks(network):
    return [
        (name, len(module._forward_hooks), len(module._forward_pre_hooks))
        for name, module in network.named_modules()
        if module._forward_hooks or module._forward_pre_hooks
    ]


def test_unusable_accumulate_and_sync_norm_are_rejected(recipe, tmp_path):
    with pytest.raises(ValueError, match=r"batch 4 cannot be split .*accumulate 3"):
        train(changed(recipe, optim={"accumulate": 3}), out=tmp_path, device="cpu")
    with pytest.raises(ValueError, match=r"optim\.sync_norm needs GPUs"):
        train(changed(recipe, optim={"sync_norm": True}), out=tmp_path, device="cpu")

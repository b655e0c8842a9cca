"""Two ranks: torchrun starts them and only rank 0 prints; after a kill, no sample is lost or read twice."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tanet.data.annotations import read_split
from tanet.data.tools.encode import Encoding
from tanet.data.tools.pack import pack
from tanet.training import training_state as states
from tests.support import rank_processes
from tests.support.tiny_videos import TINY, changed, make_folders

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


def wait(processes):
    """Wait until processes have ended. Return their exit statuses."""
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def test_torchrun_starts_train_command(tmp_path):
    videos = make_folders(tmp_path / "videos", train=10, val=4)
    flags = ["--data.root", str(videos), "--out", str(tmp_path / "run"), "--device", "cpu"]
    flags += ["--model.backbone", "resnet18_w16", "--model.frames", "4", "--data.workers", "0"]
    flags += ["--optim.epochs", "1", "--optim.warmup", "0", "--optim.batch", "4"]
    flags += ["--data.size", "32", "--data.resize", "32", "--eval.size", "32", "--eval.resize", "32"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *torchrun, "-m", "tanet", "train", "finetune", *flags],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("best checkpoint:") == done.stdout.count("epoch   1/1") == 1


def test_killed_run_reads_each_shard_sample_once_per_epoch(tmp_path):
    root = make_folders(tmp_path / "videos", train=10, val=4)
    recipe = changed(TINY, data={"root": str(root)}, optim={"epochs": 2, "lr": 0.001})
    split = read_split(recipe.data)
    list(
        pack(
            split.train,
            classes=split.classes,
            root=Path(recipe.data.root),
            out=tmp_path / "shards",
            split="train",
            encoding=Encoding("jpeg"),
            shard_size=20_000,
            workers=1,
            limit=60,
        )
    )
    shards = {"root": str(tmp_path / "shards"), "workers": 1}
    one = changed(recipe, data=shards, optim={"epochs": 2})
    wanted = sorted(sample.path for sample in read_split(one.data).train)
    assert len(wanted) == 16  # of 20; a fifth of each class is split off for validation
    moments = random.Random(1)
    out = tmp_path / "run" / "run"
    ranks = rank_processes.start(one, out, world_size=2)
    for _ in range(moments.randrange(2, 5)):
        newest = states.list_states(out)[-1:]
        while states.list_states(out)[-1:] == newest and all(process.is_alive() for process in ranks):
            time.sleep(0.001)
    for process in ranks:
        process.kill()
    wait(ranks)
    assert wait(rank_processes.start(one, out, world_size=2)) == [0, 0]
    seen = rank_processes.read_steps(out)
    for epoch in (1, 2):
        videos = [video for key, videos in seen.items() if key[0] == epoch for video in videos]
        assert sorted(videos) == wanted

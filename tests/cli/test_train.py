"""`tanet train` from the command line: Ctrl-C, resuming, TensorBoard and one-line errors."""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from tanet.cli import main
from tanet.recipes import RECIPES
from tanet.recipes.networks3d import InceptionI3D, SlowFast
from tanet.recipes.recipe import Data, Network2D, Recipe
from tests.support.tiny_videos import make_folders

ROOT = Path(__file__).parents[2]
FLAGS = [
    *("--model.backbone", "resnet18_w16", "--model.frames", "4", "--optim.batch", "4"),
    *("--optim.epochs", "1", "--optim.warmup", "0"),
    *("--data.size", "32", "--data.resize", "32", "--eval.size", "32", "--eval.resize", "32"),
    *("--data.workers", "0", "--eval.every", "1", "--device", "cpu"),
]


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    return ["train", "finetune", "--data.root", str(make_folders(tmp_path_factory.mktemp("videos"))), *FLAGS]


@pytest.mark.slow
def test_ctrl_c_prints_one_line_and_resume_checks_recipe(command, tmp_path, capsys):
    out = ["--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        [sys.executable, "-m", "tanet", *command, *out, "--optim.epochs", "1000", "--save-minutes", "0"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    while not list((tmp_path / "run").glob("state-*.pt")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    last = said.splitlines()[-1]
    assert last.startswith("tanet: stopped in ")
    assert last.endswith("run the same command with --resume to continue")
    assert "Traceback" not in said
    assert main([*command, *out, "--optim.epochs", "2", "--resume"]) == 2
    assert "optim.epochs was 1000, now 2" in capsys.readouterr().err


def test_resume_does_not_need_init_file(command, tmp_path, monkeypatch):
    out, start = ["--out", str(tmp_path / "run")], tmp_path / "start.safetensors"
    assert main([*command, "--out", str(tmp_path / "first")]) == 0
    shutil.copy(tmp_path / "first" / "best.safetensors", start)

    def stop(*_):
        raise KeyboardInterrupt  # at this point the state of the epoch is saved

    monkeypatch.setattr("tanet.training.training_loop.TrainingLoop._finish_epoch", stop)
    assert main([*command, *out, "--init", str(start)]) == 130
    monkeypatch.undo()
    start.unlink()
    assert main([*command, *out, "--init", str(start), "--resume"]) == 0
    # Without a state to resume from, the init file is required.
    assert main([*command, "--out", str(tmp_path / "new"), "--init", str(start), "--resume"]) == 2


NARROW_SLOWFAST = [
    *("--model.width", "16", "--model.frames", "8", "--model.speed-ratio", "4"),
    *("--model.blocks", "1", "1", "1", "1", "--model.fast-blocks", "1", "1", "1", "1"),
    *("--model.temporal-blocks", "1", "1", "1", "1"),
    *("--optim.epochs", "1", "--optim.warmup", "0", "--optim.batch", "4"),
    *("--data.window", "8", "--data.size", "32", "--data.short-sides", "32", "40"),
    *("--eval.size", "32", "--eval.resize", "32", "--data.workers", "0", "--device", "cpu"),
]


def test_narrow_slowfast_is_trained_resumed_and_tested(tmp_path, monkeypatch, capsys):
    videos = make_folders(tmp_path / "videos", val=1)
    command = ["train", "slowfast-4x16", "--data.root", str(videos), *NARROW_SLOWFAST]
    command += ["--out", str(tmp_path / "run")]

    def stop(*_):
        raise KeyboardInterrupt  # at this point the state of the epoch is saved

    with monkeypatch.context() as patched:
        patched.setattr("tanet.training.training_loop.TrainingLoop._finish_epoch", stop)
        assert main(command) == 130
    assert main([*command, "--resume"]) == 0
    shown = capsys.readouterr().out
    assert "SlowFast-14 2+8, 3×1×1 convolutions, 8 frames per clip" in shown
    assert "learning rate 0.00625, decaying to 0 along a half cosine" in shown  # 0.1 · 4 / 64
    sizes = ["--eval.size", "40", "--eval.resize", "40"]  # the protocol has 256, which takes longer
    best = str(tmp_path / "run" / "best.safetensors")
    assert main(["test", best, "--eval", "slowfast-10x3", *sizes, "--device", "cpu"]) == 0
    assert "10 × 3 views of 2 videos" in capsys.readouterr().out


def test_narrow_artnet_is_trained_resumed_and_tested_in_250_views(tmp_path, monkeypatch, capsys):
    videos = make_folders(tmp_path / "videos", val=1)
    small = ["--data.resize", "32", "--data.resize-width", "40", "--data.size", "32", "--data.window", "4"]
    sizes = ["--eval.resize", "32", "--eval.resize-width", "40", "--eval.size", "32", "--device", "cpu"]
    command = [
        "train",
        "artnet-r18",
        "--data.root",
        str(videos),
        "--out",
        str(tmp_path / "run"),
        *small,
        *sizes,
    ]
    command += ["--model.width", "4", "--model.frames", "4", "--optim.epochs", "1", "--optim.milestones"]
    command += ["--optim.batch", "4", "--data.workers", "0"]

    def stop(*_):
        raise KeyboardInterrupt  # at this point the state of the epoch is saved

    with monkeypatch.context() as patched:
        patched.setattr("tanet.training.training_loop.TrainingLoop._finish_epoch", stop)
        assert main(command) == 130
    assert main([*command, "--resume"]) == 0
    best = str(tmp_path / "run" / "best.safetensors")
    assert main(["test", best, "--eval", "artnet-25x10", *sizes]) == 0
    assert "25 × 10 views of 2 videos" in capsys.readouterr().out
    assert main(["predict", best, str(videos / "val" / "move_left" / "0.mp4"), "--device", "cpu"]) == 0
    assert "move_" in capsys.readouterr().out


def test_resume_of_finished_run_prints_note(command, tmp_path, capsys):
    out = ["--out", str(tmp_path)]
    assert main([*command, *out]) == 0
    first = capsys.readouterr().out.splitlines()[-2:]
    assert first[0].startswith(f"best checkpoint: {tmp_path}/best.safetensors (epoch 1, val top-1 ")
    assert first[1].split() == ["test", "it:", "tanet", "test", f"{tmp_path}/best.safetensors"]
    assert main([*command, *out, "--resume"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-2:] == first
    assert "this training run is already finished" in shown.err
    assert main([*command, *out]) == 2
    assert shown.err.count("Traceback") == 0
    assert "continue it with --resume" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--save-minutes", "-1"], "--save-minutes must be 0 or more, not -1"),
        (["--save-minutes", "nan"], "--save-minutes must be 0 or more, not nan"),
        (["--optim.accumulate", "3"], "optim.batch 4 cannot be split into equal parts"),
        (["--optim.sync-norm"], "optim.sync_norm needs GPUs"),
        (["--optim.lr-batch", "-1"], "optim.lr_batch must be at least 0, not -1"),
        (["--optim.milestones", "4", "2"], "optim.milestones must ascend, not 4, 2"),
    ],
)
def test_errors_are_one_line(command, tmp_path, capsys, flags, message):
    try:
        status = main([*command, "--out", str(tmp_path), *flags])
    except SystemExit as stop:  # argparse exits for a value it cannot parse
        status = stop.code
    assert status == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_folder_without_flag_is_the_root(command, tmp_path, capsys, monkeypatch):
    folder = command[3]
    words = ["train", "finetune", folder, *FLAGS, "--out", str(tmp_path / "run")]
    assert main(words) == 0
    assert "8 training, 4 validation videos, 2 classes" in capsys.readouterr().out
    last = ["train", "finetune", *FLAGS, "--save-minutes", "-1", "--resume", folder]  # after all flags
    assert main(last) == 2
    assert "--save-minutes must be 0 or more" in capsys.readouterr().err
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    assert main(["train", "finetune", "mine", "--out", "mine"]) == 2
    assert capsys.readouterr().err.startswith("tanet: mine: no class folders with videos in it")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["my_videos"], "name the folder of videos with --data.root my_videos, but there is no folder"),
        (["FOLDER", "--data.root", "x"], "--data.root already names the videos: remove one"),
        (["FOLDER", "FOLDER"], "is not a flag: name the folder of videos with --data.root "),
    ],
)
def test_word_without_flag_is_explained(words, message, tmp_path, capsys):
    assert main(["train", "finetune", *(str(tmp_path) if word == "FOLDER" else word for word in words)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("tanet: ")
    assert message in line


@pytest.mark.parametrize("flag", ["--help", "--help-all"])
@pytest.mark.parametrize(
    ("model", "there", "absent"),
    [
        (SlowFast(), ("--model.temporal", "conv: a 3×1×1 convolution"), "--model.backbone"),
        (InceptionI3D(), ("--model.frames", "Number of frames per clip, T."), "--model.temporal"),
        (Network2D(), ("--model.temporal", "tam, tanet-r, global"), "--model.speed-ratio"),
    ],
    ids=lambda value: getattr(value, "family", ""),
)
def test_help_shows_the_settings_of_the_recipes_network(model, there, absent, flag, monkeypatch, capsys):
    recipe = dataclasses.replace(Recipe(), model=model, data=Data(window=64))
    monkeypatch.setitem(RECIPES, "mine", recipe)
    with contextlib.suppress(SystemExit):
        main(["train", "mine", flag])
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert all(text in shown for text in there)
    assert absent not in shown
    if flag == "--help-all" and isinstance(model, SlowFast):
        assert "--model.speed-ratio INT" in shown
        assert "(default: 8)" in shown


def test_flags_of_another_family_are_refused(monkeypatch, capsys):
    monkeypatch.setitem(RECIPES, "mine", dataclasses.replace(Recipe(), model=SlowFast()))
    with pytest.raises(SystemExit):
        main(["train", "mine", "--model.backbone", "resnet18"])
    assert "--model.backbone" in capsys.readouterr().err
    assert main(["train", "mine", "--model.frames", "12"]) == 2
    assert "model.frames 12 must be a multiple of model.speed_ratio 8" in capsys.readouterr().err


def test_list_of_recipes_tells_their_networks(monkeypatch, capsys):
    monkeypatch.setitem(RECIPES, "mine", dataclasses.replace(Recipe(), model=SlowFast()))
    assert main(["train"]) == 0
    shown = capsys.readouterr().out
    assert "SlowFast-50 4+32, 3×1×1 convolutions, 32 frames, 50 epochs" in shown
    assert "resnet50 with temporal module tam, 8 frames" in shown


def test_missing_tensorboard_gives_install_hint(command, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert main([*command, "--out", str(tmp_path), "--tensorboard"]) == 2
    assert "TensorBoard is not installed: pip install 'tanet[train]'" in capsys.readouterr().err


def test_tensorboard_receives_curves(command, tmp_path, monkeypatch):
    written = {}

    class SummaryWriter:
        def __init__(self, folder):
            assert folder == str(tmp_path / "tensorboard")

        def add_scalar(self, name, value, at):
            written.setdefault(name, []).append((at, value))

        def flush(self):
            pass

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    assert main([*command, "--out", str(tmp_path), "--tensorboard", "--optim.epochs", "2"]) == 0
    assert [at for at, _ in written["epoch/val_top1"]] == [1, 2]
    assert {2, 4} <= {at for at, _ in written["train/loss"]} <= {1, 2, 3, 4}
    assert written["train/lr"][0][1] > 0
    assert "epoch/memory_gib" not in written

"""The `tanet` command line: exit status, one-line errors on stderr, results on stdout, and help texts."""

import json
import os
import re
import subprocess
import sys
import tomllib
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

import tanet
from tanet.cli import main
from tanet.cli.train_help import FIRST
from tanet.data.tools.public_datasets import DATASETS
from tanet.evaluation.protocols import PROTOCOLS
from tanet.models.backbones2d import BACKBONES
from tanet.models.temporal import TEMPORAL
from tanet.recipes import RECIPES, TABLES
from tests.support.tiny_videos import make, make_folders

TINY_FLAGS = [
    *("--model.backbone", "resnet18_w16", "--model.frames", "4", "--optim.batch", "4"),
    *("--optim.epochs", "1", "--optim.warmup", "0"),
    *("--data.size", "32", "--data.resize", "32", "--eval.size", "32", "--eval.resize", "32"),
    *("--data.workers", "0", "--device", "cpu"),
]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return make_folders(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def checkpoint(videos, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["train", "finetune", "--data.root", str(videos), "--out", str(out), *TINY_FLAGS]) == 0
    return out / "best.safetensors"


def test_train_prints_next_command(videos, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "finetune", "--data.root", str(videos), "--out", str(out), *TINY_FLAGS]) == 0
    shown = capsys.readouterr().out
    assert "epoch   1/1" in shown
    assert f"tanet test {out}/best.safetensors" in shown


def test_test_prints_accuracies_and_writes_json(checkpoint, videos, tmp_path, capsys):
    answers = tmp_path / "answers.json"
    assert (
        main(["test", str(checkpoint), "--eval.clips", "2", "--eval.crops", "3", "--json", str(answers)]) == 0
    )
    assert "2 × 3 views of 4 videos" in capsys.readouterr().out
    values = json.loads(answers.read_text())
    assert values["videos"] == len(values["answers"]) == 4
    assert main(["test", str(checkpoint), "--data.root", str(videos), "--device", "cpu"]) == 0


def test_predict_reads_folder_and_file(checkpoint, videos, tmp_path, capsys):
    assert main(["predict", str(checkpoint), str(videos / "val")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    path = make(tmp_path / "a [red] b.mp4")
    assert main(["predict", str(checkpoint), str(path)]) == 0
    assert str(path) in capsys.readouterr().out


def test_predict_tells_progress_on_standard_error_only(checkpoint, videos, capsys, monkeypatch):
    monkeypatch.setattr("tanet.cli.progress.FIRST_LINE", 0.0)
    assert main(["predict", str(checkpoint), str(videos / "val"), "--json"]) == 0
    shown = capsys.readouterr()
    assert [json.loads(line)["frames"] for line in shown.out.splitlines()] == [12] * 4
    assert shown.err.splitlines() == ["predicting: 0/4"]  # the next line would follow a minute later


def test_predict_json_contains_answers_and_errors(checkpoint, tmp_path, capsys):
    good = make(tmp_path / "good.mp4", frames=12)
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"x")
    assert main(["predict", str(checkpoint), str(bad), str(good), "absent.mp4", "--json"]) == 2
    shown = capsys.readouterr()
    first, second, third = map(json.loads, shown.out.splitlines())
    assert first["video"] == str(bad)
    assert first["error"]
    assert (second["frames"], len(second["top5"])) == (12, 2)
    assert third == {"video": "absent.mp4", "error": "no such file or folder"}
    assert [line.split(":")[0] for line in shown.err.splitlines()] == ["tanet", "tanet"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["predict", ""], "the word after 'predict' is empty; perhaps a shell variable is not set"),
        (["cost", "finetune", "--json", ""], "the word after '--json' is empty"),
        (["cost", "finetune", "--json", "EMPTY"], "EMPTY is a folder; give the name of a file"),
        (["trian"], "unknown command 'trian': choose from train, test, predict, timeline, features"),
        (["train", "foldr"], "unknown recipe 'foldr': choose from finetune, finetune-cpu, kinetics400"),
        (["train", "finetune", "--data.root", "absent"], "absent: no such folder"),
        (["train", "finetune"], "no videos given"),
        (["test", "absent.safetensors"], "absent.safetensors: no such file"),
        (["predict", "absent.safetensors", "x.mp4"], "absent.safetensors: no such file"),
        (["predict", "CHECKPOINT"], "no video given"),
        (["predict", "CHECKPOINT", "EMPTY"], "EMPTY: no videos in this folder"),
        (["predict", "CHECKPOINT", "x.mp4", "--device", "cuda:77"], "device 'cuda:77' cannot be used"),
        (
            ["train", "finetune", "--data.root", "VIDEOS", "--model.backbone", "vgg"],
            "unknown backbone 'vgg': choose from",
        ),
        (["test", "CHECKPOINT", "--data.root", "EMPTY"], "no class folders with videos in it"),
        (["test", "CHECKPOINT", "--eval.size", "99"], "eval.size 99 must not exceed eval.resize 32"),
    ],
)
def test_errors_are_one_line_with_status_2(args, message, checkpoint, videos, tmp_path, capsys):
    message = message.replace("EMPTY", str(tmp_path))
    known = {"CHECKPOINT": str(checkpoint), "VIDEOS": str(videos), "EMPTY": str(tmp_path)}
    assert main([known.get(arg, arg) for arg in args]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert message in lines[-1]
    assert lines[-1].startswith("tanet: ")


@pytest.mark.parametrize(
    ("flags", "message"), [(["--data.rot", "x"], "--data.root"), (["--data.sampling", "dens"], "uniform")]
)
def test_wrong_flag_or_value_gets_suggestion(flags, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "finetune", *flags])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--eval.every", "0"], "eval.every must be at least 1, not 0"),
        (["--data.scales"], "data.scales must not be empty"),
        (["--data.scales", "1.5"], "data.scales must be at most 1, not 1.5"),
        (["--data.scales", "1", "0"], "data.scales must be above 0, not 0"),
        (["--optim.gamma", "0"], "optim.gamma must be above 0, not 0"),
        (["--optim.clip-norm", "nan"], "optim.clip_norm must be at least 0, not nan"),
        (["--data.short-sides", "256"], "data.short_sides must be two ascending numbers, not 256"),
        (
            ["--data.short-sides", "320", "256"],
            "data.short_sides must be two ascending numbers, not 320, 256",
        ),
        (["--data.short-sides", "200", "320"], "data.short_sides must be at least data.size 224, not 200"),
        (["--optim.warmup-lr", "-1"], "optim.warmup_lr must be at least 0, not -1"),
        (
            ["--eval.frames", "250"],
            "eval.frames 250: this network takes only clips of 8 frames: give --eval.frames 0",
        ),
        (["--model.stages"], "model.stages must not be empty"),
        (
            ["--optim.epochs", "5"],
            "optim.warmup 5 must be below optim.epochs 5: lower --optim.warmup, or raise --optim.epochs",
        ),
    ],
)
def test_value_out_of_bounds_gives_one_line_error(flags, message, capsys):
    assert main(["train", "finetune", *flags]) == 2
    assert capsys.readouterr().err == f"tanet: {message}\n"


@pytest.mark.parametrize(
    ("args", "usage"),
    [
        (["predict"], "tanet predict [CHECKPOINT] VIDEO …"),
        (["show"], "tanet show CHECKPOINT VIDEO|DATA"),
        (["show", "best.safetensors"], "tanet show CHECKPOINT VIDEO|DATA"),
        (["convert"], "tanet convert IN OUT"),
        (["convert", "a.pth", "--to", "official"], "tanet convert IN OUT"),
        (["synthesize"], "tanet synthesize OUT"),
        (["data", "check"], "tanet data check ROOT|LIST"),
        (["data", "index", "ucf101"], "tanet data index DATASET ROOT"),
        (["data", "pack", "videos"], "tanet data pack ROOT|LIST OUT"),
    ],
)
def test_missing_argument_gives_one_line_usage(args, usage, capsys):
    assert main(args) == 2
    command = " ".join(usage.split()[: 3 if args[0] == "data" else 2])
    assert capsys.readouterr().err == f"tanet: usage: {usage} (see `{command} --help`)\n"


def test_old_flag_names_work_with_note(capsys):
    assert main(["train", "finetune", "--optim.fresh-lr=0", "--eval.fuse", "softmax"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "note: --optim.fresh-lr is now called --optim.new-layer-lr-scale",
        "note: --eval.fuse is now called --eval.average",
        "tanet: optim.new_layer_lr_scale must be above 0, not 0",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("args", ["--help", "--version", "train finetune --help"])
def test_closed_pipe_and_full_disk_give_no_traceback(args):
    def run(output: int) -> tuple[int, str]:
        command = [sys.executable, "-m", "tanet", *args.split()]
        done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, check=False)
        os.close(output)
        return done.returncode, done.stderr

    reader, pipe = os.pipe()
    os.close(reader)
    assert run(pipe) == (141, "")  # as if SIGPIPE had ended it
    assert run(os.open("/dev/full", os.O_WRONLY)) == (2, "tanet: No space left on device\n")


def test_unexpected_error_keeps_traceback(monkeypatch, capsys):
    def broken(args):
        raise ValueError("a fault of ours")

    monkeypatch.setattr("tanet.cli.predict.run", broken)
    with pytest.raises(ValueError, match="a fault of ours"):
        main(["predict"])


@pytest.mark.parametrize("args", [[], ["--help"], ["train"], ["train", "--help"]])
def test_help_returns_status_0(args, capsys):
    assert main(args) == 0
    assert "tanet" in capsys.readouterr().out


def test_version_matches_pyproject(capsys):
    if tanet.__version__ == "source":
        pytest.skip("tanet is not installed here")
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tanet {tanet.__version__}\n"
    stated = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["version"]
    assert tanet.__version__ == stated


COMMANDS_WITH_FLAGS = (
    *("train finetune", "train table2/tsm", "train slowfast-4x16", "train i3d-r50", "train x3d-m"),
    *("test", "predict", "show", "cost", "convert", "push"),
    *("data index", "data check", "data pack", "synthesize", "demo"),
)


@pytest.mark.parametrize("command", COMMANDS_WITH_FLAGS)
def test_help_of_command_fits_in_80_columns(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    flag = "--help-all" if command.startswith("train") else "--help"
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), flag])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert f"usage: tanet {command}" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "{None}" not in shown  # flags name their values, for example FILE or CHECKPOINT
    assert "(default: )" not in shown
    assert "(default: '')" not in shown


def test_short_help_of_train_lists_first_flags(capsys):
    assert main(["train", "finetune", "--help"]) == 0
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.count("\n  --") == len(FIRST) == 11
    assert "(default: 0.0002)" in shown  # from the recipe
    with pytest.raises(SystemExit):
        main(["train", "finetune", "--help-all"])
    every = capsys.readouterr().out
    assert all(f"--{flag}" in every for flag in FIRST)


def test_help_of_tanet_fits_in_80_columns(capsys):
    assert main([]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


PROMISED = {
    "train finetune": (*BACKBONES, *TEMPORAL),
    "train": (*RECIPES, *(f"table{name}/" for name in TABLES)),
    "cost": (*BACKBONES, *TEMPORAL, *TABLES),
    "test": PROTOCOLS,
    "data index": DATASETS,
}


@pytest.mark.parametrize("command", PROMISED)
def test_help_lists_all_names_of_a_value(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) if command != "train" else nullcontext():
        main([*command.split(), "--help-all" if command.startswith("train ") else "--help"])
    words = set(re.split(r"[\s,:;.{}()│]+", capsys.readouterr().out))
    assert set(PROMISED[command]) <= words


def test_help_of_data_and_its_usage_fit_in_80_columns(capsys):
    assert main(["data"]) == main(["train"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_help_of_convert_lists_flags(capsys):
    with pytest.raises(SystemExit):
        main(["convert", "--help"])
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("--to", "--frames", "--class-names", "--recipe"))


def test_train_lists_recipes_and_tables(capsys):
    assert main(["train", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "kinetics400" in shown
    assert "table2/{none, pool, " in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert main(["train", "table2/tsn"]) == 2
    assert "choose from none, pool" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "remedy"), [("train", "--optim.accumulate 2"), ("test", "--device cpu")])
def test_out_of_memory_gives_one_line_with_remedy(monkeypatch, capsys, name, remedy):
    def run(_):
        raise torch.OutOfMemoryError("CUDA out of memory\nand a page more")

    monkeypatch.setattr(f"tanet.cli.{name}.run", run)
    assert main([name]) == 2
    line = " ".join(capsys.readouterr().err.split())
    assert line.startswith("tanet: the GPU has too little memory: ")
    assert remedy in line
    assert "page" not in line
    assert "--optim.batch" not in line  # --resume rejects a changed batch size


def test_ctrl_c_prints_no_traceback(monkeypatch, capsys):
    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tanet.cli.train.run", stop)
    assert main(["train", "finetune"]) == 130
    assert capsys.readouterr().err.strip() == "tanet: stopped"
    monkeypatch.setattr("importlib.import_module", stop)  # the import takes seconds
    assert main(["train", "finetune"]) == 130
    assert capsys.readouterr().err.strip() == "tanet: stopped"


def test_flags_may_precede_checkpoint(checkpoint, capsys):
    assert main(["test", "--eval.clips", "2", "--device", "cpu", str(checkpoint)]) == 0
    first = capsys.readouterr().out
    assert main(["test", str(checkpoint), "--device", "cpu", "--eval.clips", "2"]) == 0
    assert capsys.readouterr().out == first


def test_demo_does_not_overwrite_other_folder(tmp_path, capsys):
    make(tmp_path / "videos" / "mine.mp4")
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert (tmp_path / "videos" / "mine.mp4").exists()

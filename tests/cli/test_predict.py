"""`tanet predict`: the default model, other models, ensembles, files to label, and the files of answers."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tanet import predict
from tanet.checkpoints import checkpoint as checkpoints
from tanet.cli import main
from tanet.inference.answer_table import COLUMNS
from tanet.inference.models import DEFAULT_MODEL
from tests.support.cached_weights import narrow_model, put_into_cache
from tests.support.tiny_videos import make


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in an empty folder, with a narrow network as the default model."""
    monkeypatch.setenv("TANET_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)  # answers of a GPU differ by rounding
    put_into_cache(DEFAULT_MODEL, narrow_model("a", "b", "c"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def save(path, *classes, seed=1):
    checkpoints.save(path, model := narrow_model(*classes, seed=seed))
    return model


def answers(capsys, *args, status=0):
    """Run `tanet predict … --json`. Return the answers, and the lines on standard error."""
    assert main(["predict", *map(str, args), "--json"]) == status
    shown = capsys.readouterr()
    return [json.loads(line) for line in shown.out.splitlines()], shown.err.splitlines()


def error(capsys, *args):
    assert main(["predict", *map(str, args)]) == 2
    shown = capsys.readouterr()
    assert not shown.out
    return shown.err.splitlines()[-1]


def top5(video, model, **options):
    return [list(pair) for pair in predict(video, model, **options).top5]


def test_video_alone_is_labelled_by_default_model(capsys):
    path = make(Path("x.mp4"))
    found, err = answers(capsys, path)
    assert found[0]["top5"] == top5(path, narrow_model("a", "b", "c"))
    assert err == ["note: model i3d-k400, which knows 400 actions of Kinetics-400"]
    assert main(["predict", "x.mp4"]) == 0
    assert capsys.readouterr().out.startswith(f"x.mp4  {found[0]['label']} ")


def test_missing_weights_are_announced_with_their_size(capsys, monkeypatch):
    monkeypatch.setenv("TANET_HOME", "empty")
    monkeypatch.setattr("tanet.cli.predict.find_checkpoint", lambda name: checkpoints.load("absent.pth"))
    make(Path("x.mp4"))
    assert main(["predict", "x.mp4"]) == 2
    assert capsys.readouterr().err.splitlines()[0].endswith("of Kinetics-400; it is downloaded once, 47 MB")


def test_nothing_is_downloaded_for_missing_videos(capsys, monkeypatch):
    monkeypatch.setenv("TANET_HOME", "empty")
    assert error(capsys, "absent.mp4") == "tanet: absent.mp4: no such file or folder"


@pytest.mark.parametrize("way", ["first word", "--model", "folder", "name", "no suffix"])
def test_model_can_be_file_folder_or_name_in_either_place(way, capsys):
    path = make(Path("x.mp4"))
    Path("run").mkdir()
    model = save(Path("run/best.safetensors"), "d", "e")
    if way == "name":
        put_into_cache("tsm-r50-k400", model)
    Path("weights").write_bytes(Path("run/best.safetensors").read_bytes())
    words = {
        "first word": ["run/best.safetensors", path],
        "--model": [path, "--model", "run/best.safetensors"],
        "folder": ["run", path],
        "name": ["tsm-r50-k400", path],
        "no suffix": ["weights", path],
    }[way]
    found, err = answers(capsys, *words)
    assert found[0]["top5"] == top5(path, model)
    assert err == []


def test_several_models_are_averaged_with_weights(capsys):
    path = make(Path("x.mp4"))
    one, two = (save(Path(f"{seed}.safetensors"), "d", "e", seed=seed) for seed in (1, 2))
    both = ["--model", "1.safetensors", "--model", "2.safetensors"]
    first, second = (dict(predict(path, model).top5) for model in (one, two))
    assert abs(first["d"] - second["d"]) > 0.01
    mean, _ = answers(capsys, path, *both)
    assert dict(mean[0]["top5"])["d"] == pytest.approx((first["d"] + second["d"]) / 2)
    weighted, _ = answers(capsys, path, *both, "--weights", 3, 1)
    assert dict(weighted[0]["top5"])["d"] == pytest.approx((3 * first["d"] + second["d"]) / 4)


def test_errors_about_models_are_one_line(capsys):
    make(Path("x.mp4"))
    for name, classes in (("de", "de"), ("df", "df"), ("ed", "ed")):
        save(Path(f"{name}.safetensors"), *classes)
    pair = ["x.mp4", "--model", "de.safetensors", "--model"]
    assert error(capsys, *pair, "df.safetensors") == (
        "tanet: df.safetensors and de.safetensors have different classes: 2 and 2, "
        "and 'e' is in only one of them"
    )
    assert "the same classes, but in another order" in error(capsys, *pair, "ed.safetensors")
    assert "1 weights for 2 models" in error(capsys, *pair, "de.safetensors", "--weights", 1)
    assert error(capsys, "de.safetensors", "x.mp4", "--model", "df.safetensors") == (
        "tanet: de.safetensors is a checkpoint, and so is --model df.safetensors: use --model for both"
    )
    assert "did you mean i3d-k400" in error(capsys, "i3d-k40", "x.mp4")
    assert "absent.safetensors: no such file" in error(capsys, "absent.safetensors", "x.mp4")


def test_word_beside_model_flag_is_a_video(capsys):
    save(Path("de.safetensors"), "d", "e")
    found, _ = answers(capsys, "absent", "--model", "de.safetensors", status=2)
    assert found == [{"video": "absent", "error": "no such file or folder"}]


def test_missing_videos_have_rows_in_json_and_csv(capsys):
    found, _ = answers(capsys, "absent.mp4", "--csv", "out.csv", status=2)
    assert found == [{"video": "absent.mp4", "error": "no such file or folder"}]
    with Path("out.csv").open(newline="") as file:
        assert [row["error"] for row in csv.DictReader(file)] == ["no such file or folder"]


def test_ambiguous_folders_are_told(capsys):
    make(Path("run/x.mp4"))
    save(Path("run/best.safetensors"), "d", "e")
    _, err = answers(capsys, "run", "run/x.mp4")
    assert err == [
        "note: run: has a checkpoint and videos; it is taken as the model, not searched for videos"
    ]
    make(Path("tsm-r50-k400/x.mp4"))
    found, err = answers(capsys, "tsm-r50-k400")
    assert [answer["video"] for answer in found] == ["tsm-r50-k400/x.mp4"]
    assert err[0] == (
        "note: tsm-r50-k400: taken as the folder of this name, not as the published weights of this name"
    )


def test_folders_patterns_and_lists_name_videos(capsys, monkeypatch):
    for name in ("a/1.mp4", "a/deep/2.mp4", "b[1].mp4", "b1.mp4"):
        make(Path(name))
    Path("a/notes.txt").write_text("no video")

    def videos(*words):
        return [answer["video"] for answer in answers(capsys, *words)[0]]

    assert videos("a") == ["a/1.mp4", "a/deep/2.mp4"]
    assert videos("a/**") == ["a/1.mp4", "a/deep/2.mp4"]
    assert videos("**/*.mp4") == ["a/1.mp4", "a/deep/2.mp4", "b1.mp4", "b[1].mp4"]
    assert videos("a/*") == ["a/1.mp4", "a/deep/2.mp4"]
    assert videos("b[1].mp4") == ["b[1].mp4"]  # what exists is no pattern
    Path("list.txt").write_text("a/1.mp4\n\nb?.mp4\n")
    assert videos("list.txt", "b[1].mp4") == ["a/1.mp4", "b1.mp4", "b[1].mp4"]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"b1.mp4\na\n")))
    assert videos("-") == ["b1.mp4", "a/1.mp4", "a/deep/2.mp4"]


def test_each_bad_input_costs_one_line_and_the_status(capsys):
    make(Path("good.mp4"))
    Path("bad.mp4").write_bytes(b"x")
    Path("empty").mkdir()
    Path("list.txt").write_text("good.mp4\nempty\n")
    found, err = answers(capsys, "bad.mp4", "empty", "*.webm", "list.txt", "absent.mp4", status=2)
    assert [answer["video"] for answer in found] == ["bad.mp4", "good.mp4", "absent.mp4"]
    assert [("error" in answer) for answer in found] == [True, False, True]
    lines = [line.removeprefix("tanet: ") for line in err if line.startswith("tanet: ")]
    assert len(lines) == len(err) - 1  # the note on the model
    assert lines[:3] == [
        "empty: no videos in this folder",
        "*.webm: no video matches this pattern",
        "empty: no videos in this folder",
    ]
    assert [line.split(":")[0] for line in lines[3:]] == ["bad.mp4", "absent.mp4"]


def test_csv_has_answers_and_errors(capsys):
    path = make(Path('a, "b"\n.mp4'))
    Path("bad.mp4").write_bytes(b"x")
    for _ in range(2):  # an older file of answers is replaced
        assert main(["predict", str(path), "bad.mp4", "--csv", "new/out.csv"]) == 2
    assert capsys.readouterr().out == "answers: new/out.csv\n" * 2
    with Path("new/out.csv").open(newline="") as file:
        good, bad = csv.DictReader(file)
    answer = predict(path, narrow_model("a", "b", "c"))
    assert tuple(good) == COLUMNS
    assert (good["video"], good["label"], good["frames"], good["error"]) == (
        str(path),
        answer.label,
        "12",
        "",
    )
    for place, (label, score) in enumerate(answer.top5, 1):
        number = "" if place == 1 else place
        assert good[f"label{number}"] == label
        assert float(good[f"score{number}"]) == pytest.approx(score, rel=1e-5)
    assert (good["label4"], good["score5"]) == ("", "")
    assert (bad["video"], bad["label"], bad["frames"]) == ("bad.mp4", "", "")
    assert bad["error"]


def test_csv_does_not_replace_other_files(capsys):
    path = make(Path("x.mp4"))
    content = path.read_bytes()
    assert "x.mp4: exists, and is not a CSV file of answers" in error(capsys, "x.mp4", "--csv", "x.mp4")
    assert path.read_bytes() == content
    assert "a folder; name a CSV file" in error(capsys, "x.mp4", "--csv", ".")


@pytest.mark.slow
def test_killed_command_leaves_complete_lines():
    for number in range(4):
        make(Path(f"{number}.mp4"))
    os.mkfifo("5.mp4.wait")  # nothing ever comes, so that the command is still running when it is killed
    names = [*(f"{number}.mp4" for number in range(4)), "5.mp4.wait"]
    command = [sys.executable, "-m", "tanet", "predict", *names, "--csv", "out.csv"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        out, until = Path("out.csv"), time.monotonic() + 60
        while not (out.exists() and out.read_text().count("\n") > 4) and time.monotonic() < until:
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    text = out.read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert text.endswith("\n")
    assert [row["video"] for row in rows] == [f"{number}.mp4" for number in range(4)]
    assert all(row["label"] for row in rows)

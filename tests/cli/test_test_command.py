"""`tanet test` from the command line: protocols, ensembles, saved scores and confusion."""

import csv
import dataclasses
import json

import pytest
import torch

from tanet.checkpoints import checkpoint
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.cli import main
from tanet.evaluation import score_files
from tanet.models.factory import build
from tests.support import rank_processes
from tests.support.tiny_videos import TINY, make_folders

CLASSES = ("move_left", "move_right")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return make_folders(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def models(videos, tmp_path_factory):
    """Checkpoints with 4 and 8 frames for the same videos."""
    paths = []
    for frames in (4, 8):
        recipe = dataclasses.replace(
            TINY,
            data=dataclasses.replace(TINY.data, root=str(videos)),
            model=dataclasses.replace(TINY.model, frames=frames),
        )
        torch.manual_seed(frames)
        network = build(recipe.model, classes=2)
        torch.nn.init.normal_(network.head.weight)
        paths.append(str(tmp_path_factory.mktemp("runs") / f"{frames}.safetensors"))
        checkpoint.save(paths[-1], Checkpoint(network, recipe, CLASSES))
    return paths


def test_protocol_name_equals_its_flags(models, tmp_path, capsys):
    named, out = tmp_path / "named", ["--device", "cpu", "--save-scores"]
    assert main(["test", models[0], "--eval", "sth-2x3", "--eval.size", "224", *out, str(named)]) == 0
    shown = capsys.readouterr()
    assert "2 × 3 views of 4 videos" in shown.out
    assert f"scores: {named}" in shown.out.splitlines()
    eval = score_files.load(named).sources[0].recipe.eval
    # --eval.size overrides the protocol.
    assert (eval.clips, eval.crops, eval.resize, eval.size) == (2, 3, 256, 224)
    numbers = ["--eval.clips", "2", "--eval.crops", "3", "--eval.resize", "256", "--eval.size", "224"]
    assert main(["test", models[0], *numbers, *out, str(tmp_path / "numbers")]) == 0
    assert torch.equal(
        score_files.load(named).report.scores, score_files.load(tmp_path / "numbers").report.scores
    )


def test_sampling_that_differs_from_training_gives_note(models, capsys):
    flags = ["--eval", "k400-4x3", "--eval.resize", "32", "--eval.size", "32"]
    assert main(["test", models[0], *flags, "--device", "cpu"]) == 0
    assert "trained on uniform clips, tested on dense ones" in capsys.readouterr().err


def test_ensemble_from_checkpoints_equals_ensemble_from_scores(models, tmp_path, capsys):
    flags = ["--weights", "1", "3", "--device", "cpu"]
    both = tmp_path / "both"
    assert main(["test", *models, *flags, "--save-scores", str(both)]) == 0
    with_networks = capsys.readouterr().out
    assert "1 × 1 + 1 × 1 views of 4 videos" in with_networks
    files = [str(tmp_path / name) for name in ("4", "8")]
    for model, file in zip(models, files, strict=True):
        assert main(["test", model, "--device", "cpu", "--save-scores", file]) == 0
    capsys.readouterr()
    assert main(["test", *files, *flags]) == 0
    assert capsys.readouterr().out == with_networks.replace(f"scores: {both}\n", "")
    a, b = (score_files.load(file).report.scores for file in files)
    assert torch.allclose(score_files.load(both).report.scores, 0.25 * a + 0.75 * b)
    assert main(["test", files[0], models[1], *flags]) == 0  # one score file and one checkpoint
    assert capsys.readouterr().out == with_networks.replace(f"scores: {both}\n", "")


def test_each_model_of_ensemble_uses_its_own_views(videos, tmp_path, models, capsys):
    model = checkpoint.load(models[1])
    eval = dataclasses.replace(model.recipe.eval, clips=2, crops=3)
    other = tmp_path / "other.safetensors"
    checkpoint.save(other, dataclasses.replace(model, recipe=dataclasses.replace(model.recipe, eval=eval)))
    assert main(["test", models[0], str(other), "--device", "cpu"]) == 0
    assert "1 × 1 + 2 × 3 views" in capsys.readouterr().out


def test_confusion_and_worst_answers_are_shown(models, videos, tmp_path, capsys):
    table, answers = tmp_path / "confusion.csv", tmp_path / "answers.json"
    files = ["--confusion", str(table), "--json", str(answers)]
    assert main(["test", models[0], "--worst", "1", *files, "--device", "cpu"]) == 0
    shown = capsys.readouterr().out.splitlines()
    head, *rows = csv.reader(table.open())
    assert head == ["class", *CLASSES]
    counts = [[int(cell) for cell in row[1:]] for row in rows]
    assert [row[0] for row in rows] == list(CLASSES)
    assert [sum(row) for row in counts] == [2, 2]
    values = json.loads(answers.read_text())
    wrong = [answer for answer in values["answers"] if answer["answer"] != answer["label"]]
    assert len(wrong) == counts[0][1] + counts[1][0] > 0
    worst = max(wrong, key=lambda answer: answer["score"])
    line = f"  {worst['video']}: {worst['label']} classified as {worst['answer']} ({worst['score']:.1%})"
    assert line in shown
    label, answer = (0, 1) if counts[0][1] >= counts[1][0] else (1, 0)
    most = counts[label][answer]
    assert f"  {CLASSES[label]} classified as {CLASSES[answer]}: {most} of 2" in shown
    assert sum("classified as" in line for line in shown) == 2
    assert values["models"][0]["recipe"]["model"]["frames"] == 4
    assert main(["test", models[0], "--worst", "0", "--device", "cpu"]) == 0
    assert "classified as" not in capsys.readouterr().out


def test_validation_part_is_tested_for_every_spelling_of_folder(tmp_path, monkeypatch, capsys):
    root = make_folders(tmp_path / "all", train=5)
    (root / "train").rename(tmp_path / "v")
    monkeypatch.chdir(tmp_path)
    recipe = dataclasses.replace(TINY, data=dataclasses.replace(TINY.data, root="v"))
    network = build(recipe.model, classes=2)
    checkpoint.save(tmp_path / "model", Checkpoint(network, recipe, CLASSES))
    for spelt in ("v", "v/", "./v", str(tmp_path / "v")):
        assert main(["test", "model", "--data.root", spelt, "--device", "cpu"]) == 0
        shown = capsys.readouterr()
        assert "views of 2 videos" in shown.out  # a fifth of ten videos is split off for validation
        assert not shown.err.strip()
    (tmp_path / "w").symlink_to(root / "val")
    assert main(["test", "model", "--data.root", "w", "--device", "cpu"]) == 0
    shown = capsys.readouterr()
    assert "views of 4 videos" in shown.out
    assert "w has no val/ folder: all of its videos are tested, perhaps some" in shown.err


def test_bad_videos_are_reported_also_from_saved_scores(models, tmp_path, capsys):
    root = make_folders(tmp_path / "videos", train=1)
    (root / "val" / "move_left" / "0.mp4").write_bytes(b"no video")
    flags = ["--data.root", str(root), "--data.max-bad", "0.5", "--device", "cpu"]
    file = str(tmp_path / "scores")
    assert main(["test", models[0], *flags, "--save-scores", file]) == 0
    first = capsys.readouterr()
    assert "video skipped: " in first.err
    assert "val/move_left/0.mp4: " in first.err
    assert "1 × 1 views of 3 videos (1 more could not be read)" in first.out
    assert main(["test", file]) == 0
    again = capsys.readouterr()
    assert again.err.strip() == first.err.strip()
    assert again.out == first.out.replace(f"scores: {file}\n", "")


def test_network_with_nan_weights_is_rejected(models, tmp_path, capsys):
    model = checkpoint.load(models[0])
    torch.nn.init.constant_(model.network.head.weight, float("nan"))
    checkpoint.save(tmp_path / "broken", model)
    assert main(["test", str(tmp_path / "broken"), "--device", "cpu"]) == 2
    shown = capsys.readouterr()
    assert shown.err.strip() == f"tanet: {tmp_path}/broken: scores of 4 videos are not numbers (NaN)"
    assert not shown.out


@pytest.mark.slow
def test_two_ranks_give_same_scores_as_one(models, tmp_path):
    file, alone = tmp_path / "two", tmp_path / "one"
    flags = ["--device", "cpu", "--save-scores"]
    ranks = rank_processes.run_command(["test", models[0], *flags, str(file)], tmp_path)
    assert [status for status, *_ in ranks] == [0, 0], ranks
    assert ["views of 4 videos" in shown for _, shown, _ in ranks] == [True, False]  # only rank 0 prints
    assert main(["test", models[0], *flags, str(alone)]) == 0
    assert score_files.load(file).names == score_files.load(alone).names
    assert torch.allclose(
        score_files.load(file).report.scores, score_files.load(alone).report.scores, atol=1e-6
    )


@pytest.fixture(scope="module")
def known_files(models, tmp_path_factory):
    """Paths by the names that the arguments of the next test use."""
    folder = tmp_path_factory.mktemp("known")
    saved, three = folder / "saved", folder / "three.safetensors"
    assert main(["test", models[0], "--device", "cpu", "--save-scores", str(saved)]) == 0
    recipe = checkpoint.load(models[0]).recipe
    checkpoint.save(three, Checkpoint(build(recipe.model, classes=3), recipe, (*CLASSES, "more")))
    elsewhere = make_folders(folder / "elsewhere", train=1, val=1)
    return {
        **{"A": models[0], "B": models[1], "SAVED": str(saved), "CLASSES": str(three)},
        "ELSEWHERE": str(elsewhere),
    }


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "no checkpoint given; usage: tanet test CHECKPOINT …"),
        (
            ["A", "--eval", "k400"],
            "unknown protocol 'k400': choose from k400-10x3, k400-4x3, sth-1x1, sth-2x3",
        ),
        (["A", "B", "--weights", "1"], "1 weights for 2 models: give one per model, or none"),
        (["A", "--worst", "-1"], "--worst must be 0 or more, not -1"),
        (["A", "absent"], "absent: no such file"),
        (["A", "--save-scores", "A"], "A is an input file, and would be overwritten"),
        (["SAVED", "--save-scores", "SAVED"], "SAVED is an input file, and would be overwritten"),
        (["A", "--json", "ELSEWHERE"], "is a folder; give the name of a file"),
        (
            ["SAVED", "--eval", "sth-1x1"],
            "scores cannot be changed: --eval and --data apply only to checkpoints",
        ),
        (["SAVED", "--eval.clips", "3"], "saved scores cannot be changed"),
        (
            ["A", "CLASSES"],
            "CLASSES and A have different classes: 3 and 2, and 'more' is in only one of them",
        ),
        (["SAVED", "A", "--data.root", "ELSEWHERE"], "A and SAVED were not tested on the same videos: "),
    ],
)
def test_errors_are_one_line(args, message, known_files, capsys):
    assert main(["test", *(known_files.get(arg, arg) for arg in args)]) == 2
    message = " ".join(known_files.get(word, word) for word in message.split())
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("tanet: ")
    assert message in lines[0]

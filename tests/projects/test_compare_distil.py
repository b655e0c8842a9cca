"""A network learns another one's answers without labels, and the result can start a training."""

import re
import sys
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.common import read_csv
from projects.compare import distil, probe, run
from projects.compare.answers import read_answers, write_answers
from tanet.checkpoints import checkpoint
from tanet.checkpoints.initialize import load_initial_weights
from tanet.errors import UserError
from tanet.models.factory import build
from tanet.recipes.recipe import Network2D
from tanet.training import plan_warnings
from tests.support.tiny_videos import TINY, make_folders


@pytest.mark.slow
def test_student_approaches_its_teacher_and_starts_a_training(tmp_path, monkeypatch, capsys):
    root = make_folders(tmp_path / "videos", train=4, val=0) / "train"
    torch.manual_seed(0)
    teacher = build(TINY.model, classes=5)
    torch.nn.init.normal_(teacher.head.weight, std=3.0)
    checkpoint.save(tmp_path / "teacher.safetensors", checkpoint.Checkpoint(teacher, TINY, tuple("abcde")))
    small = replace(
        distil.BENCHMARKS["ways"],
        data=replace(TINY.data),
        model=replace(TINY.model, temporal="tam"),
        optim=replace(distil.BENCHMARKS["ways"].optim, batch=4, lr=0.01, warmup=0),
    )
    monkeypatch.setitem(distil.BENCHMARKS, "ways", small)
    words = [str(root), "--teacher", str(tmp_path / "teacher.safetensors"), "--out", str(tmp_path / "out")]
    words += ["--only", "tsm", "--epochs", "8", "--workers", "0"]
    words += ["--answers", str(tmp_path / "answers")]
    trained = tmp_path / "out" / "tsm.safetensors"
    monkeypatch.setattr(distil, "CHUNK", 3)
    distil.main(words)
    told = capsys.readouterr().out
    assert re.findall("has answered (.*) clips", told) == ["3 of 8", "6 of 8", "8 of 8"]
    distil.main(words)
    assert capsys.readouterr().out == f"kept: {trained} (to train it again, delete it)\n"
    trained.unlink()
    whole = read_answers(tmp_path / "answers")
    part = replace(whole, clips=whole.clips[:6], probabilities=whole.probabilities[:6])
    write_answers(tmp_path / "answers", part)  # as if it had been stopped
    distil.main(words)
    again = capsys.readouterr().out
    assert re.findall("has answered (.*) clips", again) == ["8 of 8"]
    assert read_answers(tmp_path / "answers").probabilities.equal(whole.probabilities)
    assert again.splitlines()[-1] == told.splitlines()[-1]
    trained.unlink()
    (tmp_path / "teacher.safetensors").unlink()  # from now on, its answers are enough
    make_folders(tmp_path / "others", train=3, val=0)
    for changed, message in (
        (
            [str(tmp_path / "others" / "train"), *words[1:]],
            "answers has answers about other clips; give another",
        ),
        ([*words, "--teacher", "i3d-k400"], "answers has answers of the teacher '.*', not of 'i3d-k400'"),
        ([*words, "--out", str(tmp_path / "answers")], "answers: not a folder"),
        ([str(tmp_path / "nowhere"), *words[1:]], "nowhere: no such folder"),
    ):
        with pytest.raises(SystemExit, match=message):
            distil.main(changed)
    least, loss = (float(told.partition(word)[2].split()[0].rstrip(",")) for word in ("targets", "loss"))
    distil.main([*words, "--epochs", "1"])
    first = float(capsys.readouterr().out.partition("loss")[2].split()[0].rstrip(","))
    assert least < loss < first
    model = replace(TINY.model, temporal="tsm")
    assert isinstance(model, Network2D)
    notes = load_initial_weights(
        build(model, classes=2), tmp_path / "out" / "tsm.safetensors", model=model, classes=("x", "y")
    )
    assert any("trained on other classes (5)" in note for note in notes)
    with pytest.raises(SystemExit, match="unknown cases: foo; choose from none"):
        distil.main([*words, "--only", "foo"])
    make_folders(tmp_path / "videos", train=0, val=2)
    flags = [
        "--benchmark",
        "ways",
        "--data",
        str(root.parent),
        "--init",
        str(tmp_path / "out"),
        "--seeds",
        "0",
    ]
    flags += ["--change", "optim.epochs=1", "--out", str(tmp_path / "rows.csv"), "--only"]
    monkeypatch.setattr(sys, "argv", ["run", *flags, "tsm"])
    # A small network may start from random weights, so it would not be warned of.
    monkeypatch.setattr(plan_warnings, "LEARN_FROM_SCRATCH", ())
    run.main()
    assert "no weights to start from" not in capsys.readouterr().out
    (row,) = read_csv(tmp_path / "rows.csv")
    assert row["start"] == "out"
    assert "--data videos --init out --change" in row["command"]
    monkeypatch.setattr(sys, "argv", ["run", *flags, "tam"])
    with pytest.raises(SystemExit, match=r"tam\.safetensors is not there; make it with projects"):
        run.main()
    (tmp_path / "out" / "tsm.safetensors").rename(tmp_path / "out" / "tam.safetensors")
    with pytest.raises(SystemExit, match=r"tam\.safetensors is of another network; it differs in temporal"):
        run.main()


@pytest.mark.parametrize(("visible", "order"), [("never", 0.5), ("to both", None), ("always", 1.0)])
def test_probe_tells_what_answers_reveal(visible, order, tmp_path):
    """Single clips need the answer itself; a pair of directions shows what differs between them."""
    generator = np.random.default_rng(0)
    clips, answers = [], []
    of_clip = 2 * generator.standard_normal(30)
    for label, folder in enumerate(("a", "aReversed", "b", "bReversed")):
        backward = label % 2
        for number in range(30):
            clips.append(f"{folder}/g{number}__.mp4")
            hidden = {
                "never": of_clip[number],
                "to both": of_clip[number] + 0.5 * backward,
                "always": backward,
            }
            seen = hidden[visible] + 0.1 * generator.standard_normal()
            answers.append(np.exp([8 * (label >= 2), 8 * (label < 2), seen, 0]))
    answers = np.array(answers) / np.sum(answers, axis=1, keepdims=True)
    path = tmp_path / "answers.npz"
    np.savez(path, answers=answers, clips=clips, classes=list("wxyz"), teacher="teacher.safetensors")
    probe.main([str(path), "--folds", "3", "--out", str(tmp_path / "rows.csv")])
    rows = read_csv(tmp_path / "rows.csv")
    assert [row["action"] for row in rows] == ["1.0"] * 3
    orders, pairs = ([float(row[name]) for row in rows] for name in ("order", "pairs"))
    if order is None:
        assert max(orders) < 0.7
        assert min(pairs) > 0.9
    else:
        assert orders == pytest.approx([order] * 3, abs=0.15)
        assert pairs == pytest.approx([order] * 3, abs=0.25)


def test_classifier_is_tested_on_folds_that_it_did_not_see():
    inputs = torch.eye(4, dtype=torch.float64).repeat_interleave(30, 0)
    labels = torch.arange(4).repeat_interleave(30)
    scores = probe.cross_validated(inputs, labels, torch.arange(120) % 3, decay=0.01)
    assert scores.argmax(1).equal(labels)
    noise = torch.randn(120, 60, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scores = probe.cross_validated(noise, labels, torch.arange(120) % 3, decay=0.001)
    assert (scores.argmax(1) == labels).double().mean() < 0.5
    constant = torch.cat((inputs, torch.ones(120, 1).double()), 1)
    assert probe.cross_validated(constant, labels, torch.arange(120) % 3, decay=0.01).isfinite().all()


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04broken"])
def test_file_without_answers_is_named(content, tmp_path):
    path = tmp_path / "answers.npz"
    words = [str(path), "--out", str(tmp_path / "rows.csv")]
    with pytest.raises(SystemExit, match=r"answers\.npz: no such file; write it with"):
        probe.main(words)
    path.write_bytes(content)
    with pytest.raises(SystemExit, match=r"answers\.npz: not a file of answers, or a damaged one"):
        probe.main(words)


def test_damaged_answers_never_end_in_a_traceback(tmp_path):
    path = tmp_path / "answers.npz"
    clips = [f"{name}/g{number}__.mp4" for name in "ab" for number in range(3)]
    np.savez(path, answers=np.full((6, 2), 0.5), clips=clips, classes=["x", "y"], teacher="t")
    whole = path.read_bytes()
    assert read_answers(path).clips == tuple(clips)
    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 255]) + whole[position + 1 :])
        with suppress(UserError):
            read_answers(path)
    np.savez(path, answers=np.full((5, 2), 0.5), clips=clips, classes=["x", "y"], teacher="t")
    with pytest.raises(UserError, match="some answers are missing or not finite"):
        read_answers(path)


def test_targets_are_softened_and_keep_their_order():
    probabilities = torch.tensor([[0.7, 0.2, 0.1]])
    soft = distil.softened(probabilities, temperature=2)
    assert soft.argsort().tolist() == probabilities.argsort().tolist()
    assert distil.entropy(soft) > distil.entropy(probabilities)
    assert distil.entropy(torch.tensor([[1.0, 0.0]])) == pytest.approx(0, abs=1e-6)

"""The end of the demo: published weights label a real video, or the demo says why not."""

import pytest

from tanet import predict
from tanet.cli import main
from tanet.demo.real_video import label_real_video
from tanet.errors import UserError
from tanet.inference.models import DEFAULT_MODEL
from tests.support.cached_weights import narrow_model, put_into_cache
from tests.support.tiny_videos import make

TITLE = "i3d-k400, published weights that know 400 actions of Kinetics-400:"


@pytest.fixture
def out(tmp_path, monkeypatch):
    """Return the folder of a demo. TANET_HOME has a narrow network, and TANET_DATA is not set."""
    monkeypatch.setenv("TANET_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)  # answers of a GPU differ by rounding
    monkeypatch.delenv("TANET_DATA", raising=False)
    put_into_cache(DEFAULT_MODEL, narrow_model("a", "b"))
    make(tmp_path / "demo/videos/val/verb/0.mp4")
    return tmp_path / "demo"


def answer_line(path):
    answer = predict(path, narrow_model("a", "b"))
    return f"{path}: {answer.label} ({answer.score:.0%})"


def test_video_of_the_user_is_labelled(out, tmp_path):
    path = make(tmp_path / "mine.mp4", seed=3)
    assert label_real_video(path, out=out) == [TITLE, answer_line(path)]


def test_real_clip_at_hand_is_labelled(out, tmp_path, monkeypatch):
    path = make(tmp_path / "data/clips/action/run.mp4", seed=4)
    monkeypatch.setenv("TANET_DATA", str(tmp_path / "data"))
    assert label_real_video(None, out=out) == [TITLE, answer_line(path)]


def test_synthetic_video_is_called_synthetic(out):
    title, answer, note = label_real_video(None, out=out)
    assert (title, answer) == (TITLE, answer_line(out / "videos/val/verb/0.mp4"))
    assert "This video is synthetic" in note


def test_missing_weights_are_told_and_are_no_error(out, monkeypatch):
    def unreachable(source, **_):
        raise UserError(f"{source}: no access")

    monkeypatch.setattr("tanet.inference.models.file_of", unreachable)
    assert label_real_video(None, out=out) == [TITLE, "no answer, because i3d-k400: no access"]


def test_command_ends_with_the_answer(out, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tanet.demo.run.run_demo", lambda out, **_: out / "report.html")
    path = make(tmp_path / "mine.mp4", seed=3)
    assert main(["demo", "--out", str(out), "--video", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line] == [TITLE, answer_line(path), f"report: {out}/report.html"]

"""`tanet show` writes figures to the requested files and reports errors in one line."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tanet.checkpoints import checkpoint
from tanet.cli import main
from tanet.cli.show import ShowFlags, pair_names
from tanet.models.factory import build
from tests.support.tiny_videos import TINY, make, make_folders

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("show")
    for temporal in ("tam", "local", "i3d", "tsm"):
        torch.manual_seed(0)
        recipe = replace(TINY, model=replace(TINY.model, temporal=temporal))
        classes = ("run", "jump")
        network = build(recipe.model, classes=2)
        checkpoint.save(folder / f"{temporal}.safetensors", checkpoint.Checkpoint(network, recipe, classes))
    make_folders(folder / "videos", train=1, val=3)
    return folder


def run_show(folder, *args):
    return main(["show", *map(str, args), "--device", "cpu"])


def read_one_error_line(capsys):
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    return error


def test_show_draws_one_video(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    video = make(tmp_path / "jump.mp4")
    assert run_show(folder, folder / "tam.safetensors", video) == 0
    assert (tmp_path / "show-jump.png").stat().st_size > 10_000
    assert capsys.readouterr().out.startswith("show-jump.png: Gate V")
    assert run_show(folder, folder / "tam.safetensors", video) == 0
    assert "show-jump.png (replaced an existing file): Gate V" in capsys.readouterr().out
    assert run_show(folder, folder / "tam.safetensors", video, "--out", "new/a.svg") == 0
    assert (tmp_path / "new" / "a.svg").exists()


def test_show_draws_videos_of_unknown_classes(folder, tmp_path, capsys):
    out = tmp_path / "all.pdf"
    args = [folder / "tam.safetensors", folder / "videos", "--out", out, "--limit", "4"]
    assert run_show(folder, *args, "--against", folder / "i3d.safetensors") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "all-gates.pdf",
        "all-kernels.pdf",
        "all-motion.pdf",
    ]
    shown = capsys.readouterr().out
    # An untrained i3d equals the 2D network.
    assert "i3d in res5: median share 0.000 / 1.000 / 0.000" in shown
    assert "of 4 with the smallest" in shown


def test_show_draws_two_networks_with_tam_side_by_side(folder, tmp_path, capsys):
    more = make_folders(tmp_path / "more", train=1, val=2)
    args = [folder / "tam.safetensors", folder / "videos", "--out", tmp_path / "two.png", "--limit", "4"]
    args += ["--against", folder / "local.safetensors", "--against-data", more]
    assert run_show(folder, *args) == 0
    assert (tmp_path / "two-pair.png").stat().st_size > 10_000
    shown = " ".join(capsys.readouterr().out.split())
    assert "all channels of 4 clips (tam) and 4 clips (local)" in shown
    assert "res4 V: 0." in shown
    assert "Θ: 0." not in shown  # one of the two has no kernel


def test_bad_video_is_reported_and_others_are_drawn(folder, tmp_path, capsys):
    make_folders(tmp_path / "videos", train=1, val=1)
    (tmp_path / "videos" / "val" / "move_left" / "bad.mp4").write_bytes(b"no video")
    assert (
        run_show(folder, folder / "local.safetensors", tmp_path / "videos", "--out", tmp_path / "x.png") == 2
    )
    streams = capsys.readouterr()
    assert "bad.mp4" in streams.err
    assert "the temporal module has a gate but no kernel: kernels are not drawn" in streams.out
    assert [path.name for path in tmp_path.glob("*.png")] == ["x-gates.png"]


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["tsm.safetensors", "videos/val/move_left/0.mp4"], "tsm.safetensors: the checkpoint has no TAM"),
        (["tam.safetensors", "none.mp4"], "none.mp4: no such file or folder"),
        (["none.safetensors", "videos"], "none.safetensors"),
        (
            ["tam.safetensors", "videos", "--out", "a.jpg"],
            "a.jpg: the name of a picture must end in .png, .pdf, .svg",
        ),
        (["tam.safetensors", "videos", "--limit", "0"], "must be positive, not 4 and 0"),
        (["tam.safetensors", "videos", "--against", "tsm.safetensors"], "'tsm' does not learn fixed kernels"),
        (["tam.safetensors", "videos", "--against-data", "videos"], "works only with --against and a check"),
        (
            ["tam.safetensors", "videos/val/move_left/0.mp4", "--against", "i3d.safetensors"],
            "name a folder of videos by class",
        ),
        (["tam.safetensors", "tam.safetensors"], "tam.safetensors"),
        (["tam.safetensors", "empty"], "empty"),
    ],
)
def test_errors_are_one_line(folder, monkeypatch, capsys, args, line):
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir(exist_ok=True)
    assert run_show(folder, *args) == 2
    assert line in read_one_error_line(capsys)
    assert not list(folder.glob("*.png"))


@pytest.mark.parametrize(
    ("other", "videos", "names"),
    [
        ("a/i3d.safetensors", None, ("best", "i3d")),
        ("b/best.safetensors", None, ("a", "b")),
        ("a/best.safetensors", "more", ("videos", "more")),
        ("a/best.safetensors", None, ("best", "best")),
    ],
)
def test_two_networks_get_names_that_differ(other, videos, names):
    data = {"source": Path("videos"), "against_data": videos and Path(videos)}
    assert pair_names(ShowFlags("a/best.safetensors", against=other, **data)) == names

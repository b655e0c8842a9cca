"""An exported network gives the network's logits and labels; a wrong file is deleted."""

import shutil

import pytest
import torch

import tanet
from tanet.checkpoints import checkpoint
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.cli import main
from tanet.errors import UserError
from tanet.inference.export import export as module
from tanet.models.factory import build
from tests.support.tiny_videos import TINY, changed, make

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Export a narrow network with one TAM; return the folder of its checkpoint and its ONNX file."""
    folder = tmp_path_factory.mktemp("onnx")
    torch.manual_seed(0)
    recipe = changed(TINY, model={"stages": ("res5",), "blocks": "alternate"})
    network = build(recipe.model, classes=3)
    torch.nn.init.normal_(network.head.weight)
    checkpoint.save(folder / "a.safetensors", Checkpoint(network.eval(), recipe, ("a", "b", "c")))
    assert main(["export", str(folder / "a.safetensors")]) == 0
    assert {path.name for path in folder.iterdir()} == {"a.safetensors", "a.onnx"}
    return folder


def test_onnx_file_predicts_like_its_checkpoint(exported, tmp_path):
    video = make(tmp_path / "0.mp4")
    ours, theirs = tanet.load(exported / "a.safetensors"), tanet.load(exported / "a.onnx")
    assert theirs.classes == ("a", "b", "c")
    assert theirs.recipe == ours.recipe
    assert theirs.network.input_spec == ours.network.input_spec
    for batch in (1, 3):
        clips = torch.randn(batch, 4, 3, 32, 32)
        with torch.inference_mode():
            wanted, found = ours.network(clips), theirs.network(clips)
        assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert tanet.predict(video, theirs).score == pytest.approx(tanet.predict(video, ours).score, abs=1e-6)
    assert main(["predict", str(exported / "a.onnx"), str(video), "--device", "cpu"]) == 0
    with pytest.raises(UserError, match="takes frames of 32 × 32 pixels, not 40 × 40"):
        theirs.network(torch.zeros(1, 4, 3, 40, 40))
    with pytest.raises(UserError, match="takes clips of 4 frames, not 8"):
        theirs.network.set_frames(8)
    with pytest.raises(UserError, match="cannot be exported again"):
        tanet.export(theirs, tmp_path / "b.onnx")


def test_file_that_differs_is_deleted(exported, tmp_path, monkeypatch):
    model = tanet.load(exported / "a.safetensors")
    torch.nn.init.normal_(model.network.head.weight)
    # The file of another network in the place of the exported one.
    monkeypatch.setitem(module.WRITERS, "onnx", lambda _, path, **__: shutil.copy(exported / "a.onnx", path))
    monkeypatch.setattr(module, "trace", lambda *_: None)
    (tmp_path / "b.onnx").write_text("an earlier file")
    with pytest.raises(UserError, match=r"the exported network differs by .*, so the file was deleted"):
        tanet.export(model, tmp_path / "b.onnx")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["an earlier file"]


def test_other_files_are_refused(exported, tmp_path, capsys):
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(UserError, match="onnxruntime cannot read the file"):
        tanet.load(tmp_path / "bad.onnx")
    for words, message in (
        (["x.pt"], "the name must end in the suffix of a format: .onnx (onnx), .pt2 (pt2), .pte (pte), .xml"),
        (["x.onnx", "--to", "pt2"], "the name of pt2 files must end in .pt2"),
        (["x.onnx", "--int8", "."], "--int8 is for --to openvino"),
        (["x.pt2", "--size", "0"], "--size must be positive"),
    ):
        assert main(["export", str(exported / "a.safetensors"), *words]) == 2
        assert message in " ".join(capsys.readouterr().err.split())


def test_size_and_length_of_clips_follow_the_test(exported):
    recipe = changed(TINY, eval={"resize": 256, "size": 224, "crops": 3})
    found, frames = module.exported_recipe(recipe, size=112, input="frames")
    assert (found.eval.resize, found.eval.size, found.eval.crops) == (128, 112, 1)
    assert frames == recipe.model.frames
    recipe = changed(TINY, model={"temporal": "none"}, eval={"clip_frames": 25})
    assert module.exported_recipe(recipe, size=None, input="clips")[1] == 25


@pytest.mark.long
@pytest.mark.parametrize("input", ["clips", "frames"])
@pytest.mark.parametrize("to", ["onnx", "pt2", "pte", "openvino"])
def test_every_format_predicts_like_its_checkpoint(exported, tmp_path, to, input):
    packages = {"openvino": "openvino", "pte": "executorch.exir"}
    if to in packages:
        pytest.importorskip(packages[to])
    model = tanet.load(exported / "a.safetensors")
    path = tmp_path / f"a{module.FORMATS[to].suffix}"
    if (to, input) == ("pte", "frames"):
        with pytest.raises(UserError, match="ExecuTorch has no resizing"):
            tanet.export(model, path, input=input)
        return
    assert tanet.export(model, path, input=input).error <= (1e-5 if input == "clips" else 0.02)
    video = make(tmp_path / "0.mp4")
    found = tanet.predict(video, path)
    assert found.score == pytest.approx(
        tanet.predict(video, model).score, abs=1e-6 if input == "clips" else 2e-3
    )

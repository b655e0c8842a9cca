"""An exported network gives the network's logits and labels; a wrong file is deleted."""

import pytest
import torch

import tanet
from tanet.checkpoints import checkpoint
from tanet.checkpoints.checkpoint import Checkpoint
from tanet.cli import main
from tanet.errors import UserError
from tanet.inference import export_onnx as module
from tanet.models.factory import build
from tests.support.tiny_videos import TINY, changed, make

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Export a narrow network with two TAMs; return the folder of its checkpoint and its ONNX file."""
    folder = tmp_path_factory.mktemp("onnx")
    torch.manual_seed(0)
    recipe = changed(TINY, model={"stages": ("res5",)})
    network = build(recipe.model, classes=3)
    torch.nn.init.normal_(network.head.weight)
    checkpoint.save(folder / "a.safetensors", Checkpoint(network.eval(), recipe, ("a", "b", "c")))
    assert main(["export", str(folder / "a.safetensors"), str(folder / "a.onnx")]) == 0
    return folder


def test_onnx_file_predicts_like_its_checkpoint(exported, tmp_path):
    video = make(tmp_path / "0.mp4")
    ours, theirs = tanet.load(exported / "a.safetensors"), tanet.load(exported / "a.onnx")
    assert theirs.classes == ("a", "b", "c")
    assert theirs.recipe == ours.recipe
    assert theirs.network.input_spec == ours.network.input_spec
    for size, batch in ((32, 1), (32, 3)):
        clips = torch.randn(batch, 4, 3, size, size)
        with torch.inference_mode():
            wanted, found = ours.network(clips), theirs.network(clips)
        assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert tanet.predict(video, theirs).score == pytest.approx(tanet.predict(video, ours).score, abs=1e-6)
    assert main(["predict", str(exported / "a.onnx"), str(video), "--device", "cpu"]) == 0


def test_file_that_differs_is_deleted(exported, tmp_path, monkeypatch):
    model = tanet.load(exported / "a.safetensors")
    content = (exported / "a.onnx").read_bytes()
    # The file of another network in the place of the exported one.
    monkeypatch.setattr(module, "_write", lambda _, path, *__, **___: path.write_bytes(content))
    torch.nn.init.normal_(model.network.head.weight)
    with pytest.raises(UserError, match=r"the exported network differs by .*, so the file was deleted"):
        module.export_onnx(model, tmp_path / "b.onnx")
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_refused(exported, tmp_path, capsys):
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(UserError, match="onnxruntime cannot read the file"):
        tanet.load(tmp_path / "bad.onnx")
    assert main(["export", str(exported / "a.safetensors"), str(tmp_path / "x.pt")]) == 2
    assert "the name must end in .onnx" in capsys.readouterr().err

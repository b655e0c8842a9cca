"""`--init FILE` sets the network from the file, so that no other flag is needed."""

import dataclasses

import pytest
import torch

from tanet.checkpoints import checkpoint, convert
from tanet.checkpoints.image_weights import load_backbone_weights
from tanet.checkpoints.initialize import load_initial_weights
from tanet.cli import main
from tanet.errors import UserError
from tanet.models.backbones2d import BACKBONES
from tanet.models.factory import build
from tanet.recipes.finetune import FINETUNE
from tanet.recipes.recipe import Network2D
from tests.support.start_files import model_from_file
from tests.support.tiny_videos import TINY, make_folders


def save_checkpoint(path, model):
    network = build(model, classes=3)
    recipe = dataclasses.replace(TINY, model=model)
    checkpoint.save(path, checkpoint.Checkpoint(network, recipe, ("a", "b", "c")))
    return path


def test_checkpoint_sets_network(tmp_path):
    trained = Network2D(backbone="resnet18_w16", temporal="tsm", frames=5, dropout=0.9, weights="gone.pth")
    path = save_checkpoint(tmp_path / "trained.safetensors", trained)
    model = model_from_file(path, FINETUNE.model)
    assert (model.backbone, model.temporal, model.frames) == ("resnet18_w16", "tsm", 5)
    assert (model.weights, model.init) == ("", str(path))
    assert model.dropout == FINETUNE.model.dropout  # dropout comes from the recipe of the new training
    load_initial_weights(build(model, classes=2), path, model=model, classes=("x", "y"))


def test_plain_tams_start_tams_with_static_kernels_of_zeros_and_not_the_reverse(tmp_path):
    plain = Network2D(backbone="resnet18_w16", temporal="tam", frames=4)
    static = dataclasses.replace(plain, static_kernel="shift")
    path = save_checkpoint(tmp_path / "plain.safetensors", plain)
    network = build(static, classes=2)
    assert network.state_dict()["backbone.layer1.0.conv2.temporal.S"].any()
    notes = load_initial_weights(network, path, model=static, classes=("x", "y"))
    assert f"{path}: trained without static kernels: 8 of them start at 0" in notes
    assert not network.state_dict()["backbone.layer1.0.conv2.temporal.S"].any()
    path = save_checkpoint(tmp_path / "static.safetensors", static)
    assert model_from_file(path, FINETUNE.model).static_kernel == "shift"
    with pytest.raises(UserError, match="8 TAMs in the file have a static kernel: give"):
        load_initial_weights(build(plain, classes=2), path, model=plain, classes=("x", "y"))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "shufflenet_v2_x1_0"])
@pytest.mark.parametrize("classifier", [True, False])
def test_image_weights_set_backbone(name, classifier, tmp_path):
    state = BACKBONES[name]().state_dict()
    if not classifier:
        state = {k: v for k, v in state.items() if not k.startswith(("fc.", "classifier."))}
    torch.save(state, tmp_path / "weights.pth")
    model = model_from_file(tmp_path / "weights.pth", FINETUNE.model)
    assert model == dataclasses.replace(
        FINETUNE.model, backbone=name, weights=str(tmp_path / "weights.pth"), init=""
    )
    load_backbone_weights(build(model, classes=2).backbone, model.weights)


@pytest.mark.parametrize("to", ["official", "mmaction2"])
def test_published_tanet_sets_network(to, tmp_path):
    trained = Network2D(backbone="resnet50", temporal="tam", frames=4)
    source = checkpoint.load(save_checkpoint(tmp_path / "trained.safetensors", trained))
    convert.write(tmp_path / "theirs.pth", source, to=to)
    model = model_from_file(tmp_path / "theirs.pth", FINETUNE.model)
    assert (model.backbone, model.temporal, model.frames) == ("resnet50", "tam", 4)
    assert model.init == str(tmp_path / "theirs.pth")
    network = build(model, classes=2)
    notes = load_initial_weights(network, model.init, model=model, classes=("x", "y"))
    assert any("so the classifier is not copied" in note for note in notes)
    theirs, ours = source.network.state_dict(), network.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if not name.startswith("head."))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\x80noise", "cannot be read as weights"),
        ({"a.weight": torch.zeros(2)}, "unknown kind of weights"),
    ],
)
def test_unusable_file_is_rejected_with_cause(content, message, tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(ValueError, match=f"weights.pth: .*{message}"):
        model_from_file(path, FINETUNE.model)
    with pytest.raises(ValueError, match=r"absent.pth: no such file"):
        model_from_file(tmp_path / "absent.pth", FINETUNE.model)


def test_init_flag_of_train_command_sets_network(tmp_path, capsys):
    videos = make_folders(tmp_path / "videos")
    start = save_checkpoint(
        tmp_path / "start.safetensors", Network2D(backbone="resnet18_w16", temporal="tsm", frames=5)
    )
    flags = [
        *("train", "finetune", "--data.root", str(videos), "--init", str(start), "--device", "cpu"),
        *("--data.size", "32", "--data.resize", "32", "--eval.size", "32", "--eval.resize", "32"),
        *("--data.workers", "0", "--optim.epochs", "1", "--optim.warmup", "0", "--optim.batch", "4"),
    ]
    assert main([*flags, "--out", str(tmp_path / "a")]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0] == "resnet18_w16 with temporal module tsm, 5 frames per clip"
    assert "8 training, 4 validation videos, 2 classes" in lines
    assert "1 epoch × 2 steps = 2 steps of 4 clips" in lines
    assert f"starts from the checkpoint {start}" in lines
    assert any("model.temporal tsm (tam)" in line for line in lines)
    assert "optim.epochs 1 instead of 150" in shown.err
    trained = checkpoint.load(tmp_path / "a" / "best.safetensors")
    assert (trained.recipe.model.temporal, trained.classes) == ("tsm", ("move_left", "move_right"))
    # Two flags that set the initial weights are rejected.
    assert main([*flags, "--out", str(tmp_path / "b"), "--model.init", "other"]) == 2
    assert capsys.readouterr().err == (
        "tanet: --init and --model.init both set the weights to start from: give only one\n"
    )
    # A model flag overrides the file, so the weights no longer fit the network.
    assert main([*flags, "--out", str(tmp_path / "b"), "--model.temporal", "tam"]) == 2
    assert "start.safetensors: the weights do not fit this network" in capsys.readouterr().err

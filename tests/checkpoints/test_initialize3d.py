"""A 3D checkpoint starts a 3D network, also one with TAMs, and sets the sampling of the recipe."""

import dataclasses
from dataclasses import replace

import pytest
import torch

from tanet.checkpoints import checkpoint
from tanet.checkpoints.initialize import load_initial_weights
from tanet.checkpoints.recipe_from_file import recipe_from_file
from tanet.checkpoints.resize_frames import resize_frames
from tanet.cli import main
from tanet.errors import UserError
from tanet.models.factory import build
from tanet.recipes import RECIPES
from tanet.recipes.finetune import FINETUNE
from tanet.recipes.input_spec import InputSpec
from tanet.recipes.recipe import Network2D
from tests.support.narrow_networks import NARROW, RESNET3D, SLOWFAST
from tests.support.start_files import model_from_file
from tests.support.tiny_videos import TINY, make_folders

WIDE = replace(SLOWFAST, width=32)
SPEC = InputSpec(mean=(0.1, 0.2, 0.3), std=(2.0,) * 3, channels="bgr", frame_step=2, resize=40, size=32)


def save(path, model, **fields):
    torch.manual_seed(0)
    network = build(model, classes=2, input_spec=replace(SPEC, **fields))
    recipe = dataclasses.replace(TINY, model=model)
    checkpoint.save(path, checkpoint.Checkpoint(network, recipe, ("a", "b")))
    return network


def start(path, model, **options):
    """Build a network, load its initial weights, and return it with the notes."""
    torch.manual_seed(1)
    network = build(model, classes=2)
    notes = load_initial_weights(network, path, model=model, classes=("a", "b"), **options)
    assert all(note.startswith(f"{path}: ") for note in notes)
    return network, [note.removeprefix(f"{path}: ") for note in notes]


@pytest.mark.parametrize("name", ["nl-i3d", "slowfast", "tam-slowfast", "x3d", "i3d-inception"])
def test_checkpoint_starts_the_same_network(name, tmp_path):
    model = NARROW[name]
    trained = save(tmp_path / "a", model)
    assert model_from_file(tmp_path / "a", FINETUNE.model) == replace(model, init=str(tmp_path / "a"))
    network, notes = start(tmp_path / "a", model)
    assert notes == []
    ours, theirs = network.state_dict(), trained.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert (network.input_spec.mean, network.input_spec.channels) == (SPEC.mean, "bgr")
    assert network.input_spec.frame_step == 0  # the frame step follows from the recipe
    assert network.temporal_trained


@pytest.mark.parametrize(
    ("name", "fields", "notes"),
    [
        ("slowfast", {"slow_frames": "stride"}, ["trained with slow_frames linspace, now stride"]),
        ("slowfast", {"head_window": 0}, ["trained with head_window 7, now 0"]),
        (
            "slowfast",
            {"frames": 16, "speed_ratio": 8},
            [
                "trained with speed_ratio 4, now 8",
                "trained on clips of 8 frames, now 16: its weights fit both",
            ],
        ),
        ("i3d", {"pool1": "space"}, ["trained with pool1 unpadded, now space"]),
        ("i3d", {"res5_stride": 1, "dropout": 0.1}, ["trained with res5_stride 2, now 1"]),
        ("nl-i3d", {"attention": "dot"}, ["trained with attention softmax, now dot"]),
        ("x3d", {"frames": 8}, ["trained on clips of 4 frames, now 8: its weights fit both"]),
        ("tam-slowonly", {"pool2": "none"}, []),
    ],
)
def test_settings_that_weights_do_not_show_are_told(name, fields, notes, tmp_path):
    save(tmp_path / "a", NARROW[name])
    assert start(tmp_path / "a", replace(NARROW[name], **fields))[1] == notes


@pytest.mark.parametrize(
    ("plain", "kernels", "tams"),
    [(RESNET3D, 2, 2), (replace(NARROW["i3d"], frames=16), 3, 3), (WIDE, 6, 6)],
    ids=["slowonly", "i3d", "slowfast"],
)
def test_plain_network_starts_network_with_tams(plain, kernels, tams, tmp_path):
    trained = save(tmp_path / "a", plain)
    network, notes = start(tmp_path / "a", replace(plain, temporal="tam"))
    assert notes == [
        f"{kernels} 3×1×1 kernels become 1×1×1 (their centre taps are kept), and {tams} TAMs are new"
    ]
    assert not network.temporal_trained
    fresh = build_seeded(replace(plain, temporal="tam")).state_dict()
    theirs, shrunk = trained.state_dict(), 0
    for name, tensor in network.state_dict().items():
        if ".temporal." in name:
            assert torch.equal(tensor, fresh[name])
        elif tensor.shape != theirs[name].shape:
            shrunk += 1
            assert torch.equal(tensor[:, :, 0], theirs[name][:, :, 1])
        else:
            assert torch.equal(tensor, theirs[name])
    assert shrunk == kernels


def build_seeded(model):
    torch.manual_seed(1)
    return build(model, classes=2)


def test_network_with_tams_does_not_start_plain_network(tmp_path):
    save(tmp_path / "a", replace(RESNET3D, temporal="tam"))
    with pytest.raises(UserError, match=r"the file has temporal tam, model\.temporal is conv; leave out"):
        start(tmp_path / "a", RESNET3D)
    save(tmp_path / "b", replace(RESNET3D, blocks=(1, 1, 1, 2)))
    with pytest.raises(UserError, match=r"do not fit this network; .*unexpected: res5\.1\.conv1"):
        start(tmp_path / "b", RESNET3D)


@pytest.mark.parametrize(
    ("trained", "model"),
    [(SLOWFAST, RESNET3D), (RESNET3D, Network2D(backbone="resnet18_w16", frames=4)), (TINY.model, SLOWFAST)],
)
def test_checkpoint_of_other_family_is_refused(trained, model, tmp_path):
    save(tmp_path / "a", trained)
    with pytest.raises(UserError) as refused:
        start(tmp_path / "a", model)
    (line,) = str(refused.value).splitlines()
    assert trained.title in line
    assert model.title in line
    assert "--init FILE takes the network from the file" in line


def randomized(model):
    torch.manual_seed(0)
    network = build(model, classes=2)
    for name, tensor in network.state_dict().items():
        if ".temporal." in name and tensor.is_floating_point():
            torch.nn.init.uniform_(tensor, 0.5, 1.5)
    return network


@pytest.mark.parametrize(
    ("model", "longer"),
    [
        (replace(WIDE, temporal="tam"), {"frames": 16}),
        (replace(WIDE, temporal="tam"), {"speed_ratio": 2}),
        (replace(NARROW["i3d"], temporal="tam", frames=16), {"frames": 32}),
    ],
    ids=["slowfast", "slowfast with a longer slow pathway", "i3d"],
)
def test_tams_of_all_branches_are_resized_there_and_back(model, longer, tmp_path):
    state = randomized(model).state_dict()
    longer = replace(model, **longer)
    more = build(longer, classes=2).state_dict()
    resized = resize_frames(state, frames=longer.frames, like=more)
    assert {name: tensor.shape for name, tensor in resized.items()} == {n: t.shape for n, t in more.items()}
    assert any(resized[name].shape != state[name].shape for name in state)
    back = resize_frames(resized, frames=model.frames, like=state)
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_interpolation_is_asked_for_by_flag(tmp_path):
    model = replace(WIDE, temporal="tam")
    save(tmp_path / "a", model)
    with pytest.raises(UserError, match=r"for clips of 8 frames, not 16: --model\.init-frames interpolate"):
        start(tmp_path / "a", replace(model, frames=16))
    network, notes = start(tmp_path / "a", replace(model, frames=16), interpolate=True)
    assert notes == ["weights for 8 frames adapted to 16"]
    assert network(torch.randn(2, 16, 3, 32, 32)).shape == (2, 2)
    with pytest.raises(UserError, match=r"TAMs on other numbers of frames: --model\.init-frames interpolate"):
        start(tmp_path / "a", replace(model, speed_ratio=2))
    notes = start(tmp_path / "a", replace(model, speed_ratio=2), interpolate=True)[1]
    assert notes[1] == "weights for TAMs on other numbers of frames adapted"


def test_recipe_samples_as_the_3d_network_was_trained(tmp_path):
    path = tmp_path / "a"
    save(path, SLOWFAST)
    recipe, (note,) = recipe_from_file(path, FINETUNE)
    data, views = recipe.data, recipe.eval
    assert (data.sampling, data.window, data.resize, data.size) == ("dense", 16, 40, 32)
    assert (views.resize, views.size) == (40, 32)
    assert recipe.model == replace(SLOWFAST, init=str(path))
    assert note == (
        "data.sampling dense, data.window 16, data.size 32, eval.size 32, data.resize 40, eval.resize 40: "
        f"as {path} was trained, on clips of 8 frames, 2 apart"
    )
    # What the user sets stays, together with the fields that belong to it.
    recipe, (note,) = recipe_from_file(path, FINETUNE, given={"data.window", "eval.size"})
    assert (recipe.data.sampling, recipe.data.window) == ("uniform", FINETUNE.data.window)
    assert (recipe.data.size, recipe.eval) == (32, FINETUNE.eval)
    assert note.startswith("data.size 32, data.resize 40: as ")


def test_recipe_keeps_its_sampling_for_other_networks(tmp_path):
    save(tmp_path / "uniform", SLOWFAST, frame_step=0)
    save(tmp_path / "2d", TINY.model)
    for name in ("uniform", "2d"):
        recipe, notes = recipe_from_file(tmp_path / name, FINETUNE)
        assert (recipe.data, recipe.eval, notes) == (FINETUNE.data, FINETUNE.eval, [])


def test_train_command_starts_tams_from_plain_network(tmp_path, capsys):
    videos, path = make_folders(tmp_path / "videos"), tmp_path / "plain.safetensors"
    save(path, WIDE, frame_step=1)
    flags = [
        *("train", "finetune", "--data.root", str(videos), "--init", str(path), "--device", "cpu"),
        *("--data.workers", "0", "--optim.epochs", "1", "--optim.warmup", "0", "--optim.batch", "4"),
    ]
    # Flags of the file's network are known, although the recipe has another one.
    own = ["--model.temporal", "tam", "--model.slow-frames", "stride", "--out", str(tmp_path / "a")]
    assert main([*flags, *own]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0] == "SlowFast-14 2+8, TAM, 8 frames per clip"
    assert "data.sampling dense, data.window 8, data.size 32" in shown.err
    assert "6 3×1×1 kernels become 1×1×1 (their centre taps are kept), and 6 TAMs are new" in shown.err
    assert "trained with slow_frames linspace, now stride" in shown.err
    trained = checkpoint.load(tmp_path / "a" / "best.safetensors")
    assert trained.recipe.model == replace(WIDE, temporal="tam", slow_frames="stride", init=str(path))
    assert trained.network.input_spec == replace(SPEC, frame_step=1)
    assert main(["test", str(tmp_path / "a" / "best.safetensors"), "--device", "cpu"]) == 0
    assert "1 × 1 views of 4 videos" in capsys.readouterr().out
    video = str(videos / "val" / "move_left" / "0.mp4")
    assert main(["predict", str(tmp_path / "a" / "best.safetensors"), video, "--device", "cpu"]) == 0
    # A finished run needs no file: its network is in the run's folder.
    path.unlink()
    assert main([*flags, *own, "--resume"]) == 0
    assert "this training run is already finished" in capsys.readouterr().err


def test_note_tells_that_the_recipe_was_made_for_another_network(tmp_path):
    path = tmp_path / "a"
    save(path, replace(WIDE, temporal="tam"), frame_step=0)
    _, notes = recipe_from_file(path, RECIPES["x3d-s"])
    title = RECIPES["x3d-s"].model.title
    assert notes == [f"the network is that of {path}: SlowFast-14 2+8, TAM, not the recipe's {title}"]
    same = replace(RECIPES["slowfast-4x16"], model=replace(WIDE, temporal="tam"))
    for recipe in (same, RECIPES["finetune"], RECIPES["finetune-cpu"]):
        assert recipe_from_file(path, recipe)[1] == []
